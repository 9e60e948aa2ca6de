// Products, leaves and attention of a device, near and far, alone and on all cores.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>

#include "base/random.h"
#include "execute/measure_parts.h"
#include "execute/probe.h"
#include "kernels/device.h"

namespace pentafold {
namespace {

constexpr double kKiB = 1024;
constexpr double kMiB = 1024 * kKiB;
constexpr std::int64_t kSide = 256;  // outputs and inputs of a measured product
constexpr std::int64_t kLeaf = 16;   // inputs of a measured leaf
constexpr double kNear = kSide * kSide * 2;
constexpr double kMostCached = 32 * kMiB;
constexpr std::int64_t kMostRows = 512;
constexpr double kShortest = 1e-15;  // a curve lies above 0

}  // namespace

std::vector<float> probe_floats(std::int64_t count, std::uint64_t seed) {
  std::vector<float> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(static_cast<double>(mix64(seed + i) >> 11) * 0x1.0p-52 - 1.0);
  }
  return out;
}

namespace {

// Reads a byte of every cache line.
void touch(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 64) sum += std::to_integer<unsigned>(bytes[i]);
  const volatile unsigned kept = sum;
  static_cast<void>(kept);
}

// A step through `count` things that meets all of them, and neighbours long after each other: which
// expert comes next is no one's to prefetch.
std::size_t scattered_stride(std::size_t count) {
  std::size_t stride = count * 3 / 8 + 1;
  while (std::gcd(stride, count) != 1) ++stride;
  return stride;
}

// Matrices enough to fill the largest working set; every thread walks its own part of them round
// and round, so that a matrix is far away when its turn comes again.
class ProductProbe {
 public:
  ProductProbe(const Device& device, std::int64_t threads, double largest)
      : device_(device), x_(probe_floats(kMostRows * kSide, 1)) {
    const std::vector<float> values = probe_floats(kSide * kSide, 2);
    std::vector<std::byte> stored(values.size() * 2);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint16_t bits = f32_to_bf16(values[i]);
      std::memcpy(stored.data() + 2 * i, &bits, sizeof bits);
    }
    const WeightMatrix one = device.pack(stored, kSide, kSide, DType::BF16);
    pool_.assign(static_cast<std::size_t>(largest / kNear), one);
    next_.resize(static_cast<std::size_t>(threads));
  }

  // Seconds of one product.
  double seconds(std::int64_t threads, double working_set, std::int64_t rows,
                 bool scattered = false) {
    return on_threads(threads, [&](std::int64_t thread) {
      const auto count = std::clamp<std::int64_t>(
          static_cast<std::int64_t>(working_set / kNear) / threads, 1, std::ssize(pool_) / threads);
      const std::span mine = std::span(pool_).subspan(static_cast<std::size_t>(thread * count),
                                                      static_cast<std::size_t>(count));
      // What no cache holds need not be brought near first: the walk goes on where it stopped.
      if (working_set <= kMostCached) {
        for (const WeightMatrix& w : mine) touch(w.bytes);
      }
      std::vector<float> y(static_cast<std::size_t>(rows * kSide));
      std::size_t& at = next_[static_cast<std::size_t>(thread)];
      at %= mine.size();
      const std::size_t stride = scattered ? scattered_stride(mine.size()) : 1;
      return seconds_a_call(
          [&] {
            GemmArgs args;
            args.rows = rows;
            args.x = {x_.data(), kSide};
            args.w = &mine[at];
            args.n = {0, kSide};
            args.k = {0, kSide};
            args.y = {y.data(), kSide};
            device_.gemm(args);
            at = (at + stride) % mine.size();
          },
          kProbeSeconds, 4);
    });
  }

  // The same near, cut into leaves of kLeaf inputs.
  double leaf_seconds(std::int64_t rows) {
    const Range whole{0, kSide / kLeaf};
    std::vector<float> y(static_cast<std::size_t>(rows * kSide));
    return seconds_a_call(
        [&] {
          LeafGemmArgs args;
          args.rows = rows;
          args.x = {x_.data(), kSide};
          args.w = &pool_.front();
          args.k = {0, kSide};
          args.leaf_width = kLeaf;
          args.nodes = {&whole, 1};
          args.y = y.data();
          device_.leaf_gemm(args);
        },
        kProbeSeconds, 4);
  }

  // A product of one row and one panel: mostly the call.
  double call_seconds() {
    float y[kPanelWidth];
    return seconds_a_call(
               [&] {
                 for (int i = 0; i < 64; ++i) {
                   GemmArgs args;
                   args.rows = 1;
                   args.x = {x_.data(), kSide};
                   args.w = &pool_.front();
                   args.n = {0, kPanelWidth};
                   args.k = {0, 1};
                   args.y = {y, kPanelWidth};
                   device_.gemm(args);
                 }
               },
               kProbeSeconds, 4) /
           64;
  }

 private:
  const Device& device_;
  std::vector<float> x_;
  std::vector<WeightMatrix> pool_;
  std::vector<std::size_t> next_;  // by thread
};

}  // namespace

void measure_products(const Device& device, const ProbeSizes& sizes, MachineSpec& machine) {
  ProductProbe product(device, machine.cores, sizes.working_sets.back());
  std::vector<Probe> probes;
  for (ProductTable* table : {&machine.product_alone, &machine.product_shared}) {
    const std::int64_t threads = table == &machine.product_alone ? 1 : machine.cores;
    table->working_sets = sizes.working_sets;
    table->rows = sizes.rows;
    table->seconds.assign(sizes.working_sets.size(), std::vector<double>(sizes.rows.size()));
    for (std::size_t i = 0; i < sizes.working_sets.size(); ++i) {
      for (std::size_t j = 0; j < sizes.rows.size(); ++j) {
        const auto sample = [&product, threads, bytes = sizes.working_sets[i],
                             rows = sizes.rows[j]] {
          return product.seconds(threads, bytes, static_cast<std::int64_t>(rows)) /
                 (rows * kSide * kSide);
        };
        probes.push_back({sample, &table->seconds[i][j]});
      }
    }
  }
  probes.push_back({[&product] { return product.call_seconds(); }, &machine.product_call_s});
  std::vector<double> scattered(sizes.working_sets.size());
  for (std::size_t i = 0; i < scattered.size(); ++i) {
    const auto sample = [&product, bytes = sizes.working_sets[i]] {
      return product.seconds(1, bytes, 1, true);
    };
    probes.push_back({sample, &scattered[i]});
  }
  machine.leaf = {sizes.rows, std::vector<double>(sizes.rows.size())};
  std::vector<double> uncut(sizes.rows.size());
  for (std::size_t i = 0; i < sizes.rows.size(); ++i) {
    const auto rows = static_cast<std::int64_t>(sizes.rows[i]);
    probes.push_back({[&product, rows] { return product.leaf_seconds(rows); }, &machine.leaf.y[i]});
    probes.push_back({[&product, rows] { return product.seconds(1, kNear, rows); }, &uncut[i]});
  }
  take_turns(probes, sizes.rounds);
  machine.product_start = {sizes.working_sets, {}};
  for (std::size_t i = 0; i < scattered.size(); ++i) {
    const double in_order = machine.product_alone.seconds[i].front() * kSide * kSide;
    machine.product_start.y.push_back(std::max(scattered[i] - in_order, kShortest));
  }
  for (std::size_t i = 0; i < sizes.rows.size(); ++i) {
    constexpr std::int64_t kLeaves = kSide / kLeaf;
    const double leaves = sizes.rows[i] * kSide * kLeaves;
    machine.leaf.y[i] = std::max((machine.leaf.y[i] - uncut[i]) / leaves, kShortest);
  }
}

Result<MachineSpec> measure_kernels(const MeasureOptions& options) {
  const auto device = make_device(options.device);
  if (!device) {
    return make_error(ErrorCode::Unsupported,
                      fmt::format("no device '{}'; choose cpu or reference", options.device));
  }
  MachineSpec machine;
  machine.device = device->name();
  machine.cores = options.cores > 0
                      ? options.cores
                      : std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  ProbeSizes sizes;
  if (options.quick) {
    sizes = {{kNear, 8 * kMiB}, {1, 8, 64}, 1};
  } else {
    sizes = {{kNear, kMiB, 4 * kMiB, 16 * kMiB, 32 * kMiB, 64 * kMiB, 192 * kMiB},
             {1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 256},
             kProbeRounds};
  }
  measure_products(*device, sizes, machine);
  measure_attention(*device, sizes, machine);
  return machine;
}

}  // namespace pentafold
