#include "predict/core_sharing.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <queue>
#include <tuple>

namespace pentafold {
namespace {

// Of Linux for threads of equal priority, 2 to 4 ms whatever the load.
constexpr double kTimeSlice = 3e-3;

class Cores {
 public:
  explicit Cores(const ThreadPlan& plan)
      : plan_(plan),
        free_cores_(plan.cores),
        threads_(plan.actions.size()),
        waiting_(plan.group_sizes.size()) {}

  double run() {
    for (std::size_t t = 0; t < threads_.size(); ++t) advance(t);
    fill_cores();
    while (!events_.empty()) {
      const auto [time, order, thread] = events_.top();
      events_.pop();
      now_ = time;
      if (threads_[thread].on_core) {
        leave_core(thread);
      } else if (threads_[thread].work > 0) {
        queue_.push_back(thread);  // what it waited for is there
      } else {
        advance(thread);
      }
      fill_cores();
    }
    return done_ == threads_.size() ? now_ : std::numeric_limits<double>::infinity();
  }

 private:
  struct Thread {
    std::size_t next = 0;  // action
    double work = 0;       // left before the next action
    bool on_core = false;
  };
  using Event = std::tuple<double, std::uint64_t, std::size_t>;  // when, order, thread

  void at(double time, std::size_t thread) { events_.emplace(time, order_++, thread); }

  void ready(std::size_t thread, double work) {
    threads_[thread].work = work;
    if (work > 0) {
      queue_.push_back(thread);
    } else {
      at(now_, thread);
    }
  }

  void fill_cores() {
    while (free_cores_ > 0 && !queue_.empty()) {
      const std::size_t thread = queue_.front();
      queue_.pop_front();
      --free_cores_;
      threads_[thread].on_core = true;
      at(now_ + std::min(threads_[thread].work, kTimeSlice), thread);
    }
  }

  void leave_core(std::size_t thread) {
    Thread& state = threads_[thread];
    state.on_core = false;
    ++free_cores_;
    state.work -= kTimeSlice;
    if (state.work > 0) {
      queue_.push_back(thread);
    } else {
      advance(thread);
    }
  }

  // Goes on to the thread's next action, now.
  void advance(std::size_t thread) {
    Thread& state = threads_[thread];
    if (state.next == plan_.actions[thread].size()) {
      ++done_;
      return;
    }
    const ThreadAction& action = plan_.actions[thread][state.next++];
    switch (action.kind) {
      case ThreadAction::Kind::Work:
        return ready(thread, action.work_s);
      case ThreadAction::Kind::Exchange:
        return meet(thread, action);
      case ThreadAction::Kind::Send:
        return send(thread, action);
      case ThreadAction::Kind::Receive:
        return receive(thread, action);
    }
  }

  void meet(std::size_t thread, const ThreadAction& action) {
    const auto group = static_cast<std::size_t>(action.with);
    threads_[thread].work = action.work_s;
    waiting_[group].push_back(thread);
    if (std::ssize(waiting_[group]) < plan_.group_sizes[group]) return;
    for (const std::size_t member : waiting_[group]) at(now_ + action.delay_s, member);
    waiting_[group].clear();
  }

  struct Mailbox {
    std::deque<double> arrivals;
    bool awaited = false;
  };

  void send(std::size_t thread, const ThreadAction& action) {
    const auto to = static_cast<std::size_t>(action.with);
    Mailbox& box = mail_[{thread, to}];
    if (box.awaited) {
      box.awaited = false;
      at(now_ + action.delay_s, to);
    } else {
      box.arrivals.push_back(now_ + action.delay_s);
    }
    ready(thread, action.work_s);
  }

  void receive(std::size_t thread, const ThreadAction& action) {
    Mailbox& box = mail_[{static_cast<std::size_t>(action.with), thread}];
    threads_[thread].work = action.work_s;
    if (box.arrivals.empty()) {
      box.awaited = true;
      return;
    }
    const double arrival = box.arrivals.front();
    box.arrivals.pop_front();
    if (arrival <= now_) return ready(thread, action.work_s);
    at(arrival, thread);
  }

  const ThreadPlan& plan_;
  double now_ = 0;
  std::int64_t free_cores_;
  std::uint64_t order_ = 0;
  std::size_t done_ = 0;
  std::vector<Thread> threads_;
  std::vector<std::vector<std::size_t>> waiting_;  // by group
  std::map<std::pair<std::size_t, std::size_t>, Mailbox> mail_;
  std::deque<std::size_t> queue_;  // ready, not on a core
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

}  // namespace

double seconds_on_cores(const ThreadPlan& plan) {
  return Cores(plan).run();
}

}  // namespace pentafold
