#include "kernels/core_limits.h"

#include "kernels/cpu/targets.h"  // first: it configures Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/core_limits.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pentafold::cpu {
namespace HWY_NAMESPACE {

// Latency of a multiply-add times units that start one each cycle: 8 to 10 on today's cores. With
// both factors and the chains, 14 of 16 registers.
constexpr int kChains = 12;

// Chains that run to a fixed point, far from overflow and from denormals; their sum.
double run_chains(std::int64_t rounds, float* sum) {
  const hn::CappedTag<float, 16> d;
  const auto factor = hn::Set(d, 0.5F);
  const auto addend = hn::Set(d, 1.0F);
  hn::Vec<decltype(d)> chain[kChains];
  PF_UNROLL
  for (int c = 0; c < kChains; ++c) chain[c] = hn::Set(d, static_cast<float>(c));
  for (std::int64_t round = 0; round < rounds; ++round) {
    PF_UNROLL
    for (int c = 0; c < kChains; ++c) chain[c] = fused(d, chain[c], factor, addend);
  }
  auto all = chain[0];
  PF_UNROLL
  for (int c = 1; c < kChains; ++c) all = hn::Add(all, chain[c]);
  *sum = hn::GetLane(hn::SumOfLanes(d, all));
  return 2.0 * kChains * static_cast<double>(hn::Lanes(d)) * static_cast<double>(rounds);
}

constexpr int kStreams = 8;

// One chain a stream; 32-bit lanes are what every instruction set here has.
std::int64_t read_vectors(std::span<const std::byte> bytes, std::uint32_t* sum) {
  const hn::CappedTag<std::uint32_t, 16> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* at = reinterpret_cast<const std::uint32_t*>(bytes.data());
  const std::int64_t at_once = kStreams * lanes;
  const std::int64_t whole = std::ssize(bytes) / 4 / at_once * at_once;
  hn::Vec<decltype(d)> mixed[kStreams];
  PF_UNROLL
  for (int s = 0; s < kStreams; ++s) mixed[s] = hn::Zero(d);
  for (std::int64_t i = 0; i < whole; i += at_once) {
    PF_UNROLL
    for (int s = 0; s < kStreams; ++s) {
      mixed[s] = hn::Xor(mixed[s], hn::LoadU(d, at + i + s * lanes));
    }
  }
  auto all = mixed[0];
  PF_UNROLL
  for (int s = 1; s < kStreams; ++s) all = hn::Xor(all, mixed[s]);
  *sum = hn::GetLane(hn::SumOfLanes(d, all));
  return whole * 4;
}

}  // namespace HWY_NAMESPACE
}  // namespace pentafold::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pentafold {
namespace cpu {
HWY_EXPORT(run_chains);
HWY_EXPORT(read_vectors);
}  // namespace cpu

double multiply_add(std::int64_t rounds) {
  float sum = 0;
  const double done = HWY_DYNAMIC_DISPATCH(cpu::run_chains)(rounds, &sum);
  const volatile float kept = sum;  // so that it has to be computed
  static_cast<void>(kept);
  return done;
}

std::int64_t read_through(std::span<const std::byte> bytes) {
  std::uint32_t sum = 0;
  const std::int64_t read = HWY_DYNAMIC_DISPATCH(cpu::read_vectors)(bytes, &sum);
  const volatile std::uint32_t kept = sum;
  static_cast<void>(kept);
  return read;
}

}  // namespace pentafold
#endif  // HWY_ONCE
