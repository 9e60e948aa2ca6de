// Attention of a device: one row a request, many rows of one, and over a cache that is far away.
#include <algorithm>
#include <thread>

#include "execute/measure_parts.h"
#include "execute/probe.h"

namespace pentafold {
namespace {

constexpr std::int64_t kHeads = 4;           // query heads, as many of the cache
constexpr std::int64_t kBlocks = 4;          // of a request
constexpr std::int64_t kMostRequests = 256;  // in one sample
constexpr std::int64_t kTokens = kBlocks * kKvBlockTokens;

// Requests of 64 cached tokens, `bytes` of cache in all.
class CacheProbe {
 public:
  CacheProbe(const Device& device, std::int64_t head_dim, double bytes)
      : device_(device),
        head_dim_(head_dim),
        requests_(std::max<std::int64_t>(
            1, static_cast<std::int64_t>(bytes / static_cast<double>(2 * request_floats() * 4)))) {
    k_ = probe_floats(requests_ * request_floats(), 3);
    v_ = probe_floats(requests_ * request_floats(), 4);
    q_ = probe_floats(kTokens * kHeads * head_dim, 5);
    for (std::int64_t block = 0; block < requests_ * kBlocks; ++block) {
      blocks_.push_back(static_cast<std::int32_t>(block));
    }
    for (std::int64_t head = 0; head < kHeads; ++head) {
      kv_of_q_.push_back(static_cast<std::int32_t>(head));
    }
  }

  double bytes_of_request() const { return static_cast<double>(2 * request_floats() * 4); }

  // Seconds for each query head and block of 16 keys. `rows` of one request: its last ones.
  double seconds(std::int64_t rows) {
    std::vector<std::int64_t> positions;
    double blocks = 0;
    for (std::int64_t r = kTokens - rows; r < kTokens; ++r) {
      positions.push_back(r);
      const std::int64_t last = r / kKvBlockTokens;
      blocks += static_cast<double>(last + 1);
    }
    std::vector<float> out(static_cast<std::size_t>(rows * kHeads * head_dim_));
    std::int64_t& request = request_;
    const double spent = seconds_a_call(
        [&] {
          const std::vector<const std::int32_t*> tables(static_cast<std::size_t>(rows),
                                                        blocks_.data() + request * kBlocks);
          AttentionArgs args;
          args.rows = rows;
          args.q_heads = kHeads;
          args.kv_of_q = kv_of_q_;
          args.q = {q_.data(), kHeads * head_dim_};
          args.out = {out.data(), kHeads * head_dim_};
          args.positions = positions;
          args.block_tables = tables;
          args.cache = {reinterpret_cast<std::byte*>(k_.data()),
                        reinterpret_cast<std::byte*>(v_.data()), kHeads, head_dim_, KvType::F32};
          args.scale = 0.125F;
          device_.attention(args);
          request = (request + 1) % requests_;
        },
        kProbeSeconds, static_cast<int>(std::min<std::int64_t>(requests_, kMostRequests)));
    return spent / (blocks * static_cast<double>(kHeads));
  }

 private:
  std::int64_t request_floats() const { return kTokens * kHeads * head_dim_; }

  const Device& device_;
  std::int64_t head_dim_;
  std::int64_t requests_;
  std::int64_t request_ = 0;  // whose turn it is
  std::vector<float> k_, v_, q_;
  std::vector<std::int32_t> blocks_;
  std::vector<std::int32_t> kv_of_q_;
};

LineCost line_through(double x1, double y1, double x2, double y2) {
  const double slope = std::max(0.0, (y2 - y1) / (x2 - x1));
  return {std::max(0.0, y1 - slope * x1), slope};
}

}  // namespace

void measure_attention(const Device& device, const ProbeSizes& sizes, MachineSpec& machine) {
  constexpr std::int64_t kNarrow = 32;
  constexpr std::int64_t kMiddle = 64;
  constexpr std::int64_t kWide = 128;
  CacheProbe narrow(device, kNarrow, 0);
  CacheProbe wide(device, kWide, 0);
  double one[2], many[2];
  std::vector<Probe> probes = {{[&] { return narrow.seconds(1); }, &one[0]},
                               {[&] { return wide.seconds(1); }, &one[1]},
                               {[&] { return narrow.seconds(kTokens); }, &many[0]},
                               {[&] { return wide.seconds(kTokens); }, &many[1]}};
  std::vector<CacheProbe> far;
  far.reserve(sizes.working_sets.size());
  std::vector<double> seconds(sizes.working_sets.size());
  for (std::size_t i = 0; i < sizes.working_sets.size(); ++i) {
    far.emplace_back(device, kMiddle, sizes.working_sets[i]);
    probes.push_back({[&far, i] { return far[i].seconds(1); }, &seconds[i]});
  }
  take_turns(probes, sizes.rounds);
  machine.attend_one = line_through(kNarrow, one[0], kWide, one[1]);
  machine.attend_many = line_through(kNarrow, many[0], kWide, many[1]);
  const double near_s = machine.attend_one.call_s + machine.attend_one.unit_s * kMiddle;
  machine.cache_byte = {};
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    const double bytes = far[i].bytes_of_request() / static_cast<double>(kBlocks * kHeads);
    machine.cache_byte.x.push_back(sizes.working_sets[i]);
    machine.cache_byte.y.push_back(std::max((seconds[i] - near_s) / bytes, 1e-13));
  }
}

}  // namespace pentafold
