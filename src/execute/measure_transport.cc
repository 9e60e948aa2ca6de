// Exchanges and messages between threads of one process, fewer and more than there are cores.
#include <algorithm>
#include <numeric>

#include "base/patience.h"
#include "base/random.h"
#include "comm/local_world.h"
#include "execute/measure_parts.h"
#include "execute/probe.h"

namespace pentafold {
namespace {

constexpr std::chrono::milliseconds kLongestWait{60'000};
constexpr std::int64_t kTurns = 10'000;
constexpr double kMostBetween = 60e-6;  // seconds of work between measured exchanges
constexpr double kLeastBetween = 30e-6;
constexpr std::int64_t kSmall = 64;
constexpr std::int64_t kLarge = std::int64_t{1} << 20;
constexpr double kShortest = 1e-9;  // a curve lies above 0

std::vector<Rank> ranks_from(std::int64_t first, std::int64_t count) {
  std::vector<Rank> out;
  for (std::int64_t r = first; r < first + count; ++r) out.emplace_back(r);
  return out;
}

// Keeps a core busy without touching memory.
void turn(std::int64_t times) {
  std::uint64_t state = 1;
  for (std::int64_t i = 0; i < times; ++i) state = mix64(state);
  const volatile std::uint64_t kept = state;
  static_cast<void>(kept);
}

// How much work lies between exchanges, and how uneven it is: a thread that waits for a while is
// woken later than one that has just gone to sleep.
struct WorkBetween {
  std::int64_t most_turns = 0;  // of every second member, in turns with the others
  std::int64_t least_turns = 0;
};

// Seconds of an exchange of a few bytes by each member, `ranks` threads in groups of `members`.
double exchange_seconds(std::int64_t ranks, std::int64_t members, int times,
                        const WorkBetween& between) {
  LocalWorld world(ranks, {kLongestWait});
  return on_threads(ranks, [&](std::int64_t rank) {
    const auto comm = world.communicator(Rank(rank));
    const auto group = comm->join(ranks_from(rank / members * members, members));
    const std::vector<std::byte> mine(static_cast<std::size_t>(kSmall), std::byte{1});
    std::vector<std::byte> theirs(mine.size());
    const auto exchange_all = [&] {
      for (int i = 0; i < times; ++i) {
        turn((i + rank) % 2 == 0 ? between.most_turns : between.least_turns);
        const Status done = comm->all_gather_v(*group, mine, [&](std::int64_t, Bytes from) {
          std::copy(from.begin(), from.end(), theirs.begin());
        });
        if (!done.ok()) world.abort(done.error());
      }
    };
    return seconds_a_call(exchange_all, 0, 1) / times;
  });
}

// Seconds from a message's sending until the other side has sent its answer.
double message_seconds(std::int64_t bytes, int times) {
  LocalWorld world(2, {kLongestWait});
  // Lent, so it outlives both threads.
  const std::vector<std::byte> mine(static_cast<std::size_t>(bytes), std::byte{1});
  return on_threads(2, [&](std::int64_t rank) {
    const auto comm = world.communicator(Rank(rank));
    const Rank peer(1 - rank);
    std::vector<std::byte> theirs(mine.size());
    const auto receive = [&] {
      return comm->recv(peer,
                        [&](Bytes from) { std::copy(from.begin(), from.end(), theirs.begin()); });
    };
    return seconds_a_call(
               [&] {
                 for (int i = 0; i < times; ++i) {
                   Status done = ok_status();
                   if (rank == 0) done = comm->lend(peer, mine);
                   if (done.ok()) done = receive();
                   if (done.ok() && rank == 1) done = comm->lend(peer, mine);
                   if (!done.ok()) world.abort(done.error());
                 }
               },
               0, 1) /
           (2.0 * times);
  });
}

}  // namespace

// With r ranks in groups of m, an exchange takes  delay(m) + r x work(m) / cores: many ranks give
// the work, one group alone, with other work between exchanges, the delay: once with cores to look
// out on where they suffice, and once as if others had them.
Status measure_transport(const MeasureOptions& options, MachineSpec& machine) {
  const std::int64_t most = options.quick ? 4 : 16;
  const int times = options.quick ? 10 : 60;
  double turn_s = 0;
  take_turns({{[] { return seconds_a_call([] { turn(kTurns); }, 0, 4) / kTurns; }, &turn_s}},
             kProbeRounds);
  const WorkBetween between{static_cast<std::int64_t>(kMostBetween / turn_s),
                            static_cast<std::int64_t>(kLeastBetween / turn_s)};
  std::vector<double> members;
  for (std::int64_t m = 2; m <= most; m *= 2) members.push_back(static_cast<double>(m));
  std::vector<double> alone(members.size());
  std::vector<double> woken(members.size());
  std::vector<double> crowded(members.size());
  double near_message = 0;
  double large_message = 0;
  std::vector<Probe> probes;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto m = static_cast<std::int64_t>(members[i]);
    probes.push_back({[=] { return exchange_seconds(m, m, times, between); }, &alone[i]});
    probes.push_back({[=] {
                        const BusyThreads others(usable_cores());
                        return exchange_seconds(m, m, times, between);
                      },
                      &woken[i]});
    probes.push_back({[=] { return exchange_seconds(2 * most, m, times, {}); }, &crowded[i]});
  }
  probes.push_back({[=] { return message_seconds(kSmall, times); }, &near_message});
  probes.push_back({[] { return message_seconds(kLarge, 10); }, &large_message});
  take_turns(probes, options.quick ? 1 : kProbeRounds);

  machine.exchange_delay = {members, {}};
  machine.exchange_wake = {members, {}};
  machine.exchange_work = {members, {}};
  const auto cores = static_cast<double>(machine.cores);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const double turns_a_core = std::max(1.0, members[i] / cores);
    const double work = crowded[i] * cores / static_cast<double>(2 * most);
    const double busy = std::max(kMostBetween, turns_a_core * (kMostBetween + kLeastBetween) / 2);
    machine.exchange_work.y.push_back(work);
    const auto delay = [&](double seconds) {
      return std::max(seconds - busy - work * turns_a_core, kShortest);
    };
    machine.exchange_delay.y.push_back(delay(alone[i]));
    machine.exchange_wake.y.push_back(delay(woken[i]));
  }
  machine.message.call_s = near_message;
  machine.message.unit_s =
      std::max((large_message - near_message) / static_cast<double>(kLarge - kSmall), 0.0);
  return ok_status();
}

}  // namespace pentafold
