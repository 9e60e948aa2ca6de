#include "predict/simulate_summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pentafold {
namespace {

double per(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0;
}

}  // namespace

bool ServiceTargets::met_by(const RequestOutcome& outcome) const {
  return !(ttft_s && outcome.ttft() > *ttft_s) && !(tpot_s && outcome.tpot() > *tpot_s) &&
         !(e2e_s && outcome.e2e() > *e2e_s);
}

ServiceSummary summarize(std::span<const RequestOutcome> outcomes, const GapHistogram& gaps,
                         const ServiceTargets& targets, std::int64_t gpus) {
  ServiceSummary summary;
  summary.gpus = gpus;
  std::vector<double> ttft;
  std::vector<double> tpot;
  std::vector<double> e2e;
  std::vector<double> queue;
  double first = 0;
  double last = 0;
  double prompt = 0;
  double shared = 0;
  double output = 0;
  for (const RequestOutcome& outcome : outcomes) {
    summary.preemptions += outcome.preemptions;
    if (outcome.rejected) {
      ++summary.rejected;
      continue;
    }
    first = summary.finished == 0 ? outcome.arrival_s : std::min(first, outcome.arrival_s);
    last = std::max(last, outcome.finish_s);
    ++summary.finished;
    ttft.push_back(outcome.ttft());
    if (outcome.output > 1) tpot.push_back(outcome.tpot());
    e2e.push_back(outcome.e2e());
    queue.push_back(outcome.scheduled_s - outcome.arrival_s);
    prompt += outcome.prompt;
    shared += outcome.shared;
    output += outcome.output;
    if (targets.met_by(outcome)) ++summary.good;
  }
  summary.ttft = distribution_of(std::move(ttft));
  summary.tpot = distribution_of(std::move(tpot));
  summary.e2e = distribution_of(std::move(e2e));
  summary.queue = distribution_of(std::move(queue));
  summary.itl = {gaps.total(), gaps.mean(), gaps.quantile(0.5), gaps.quantile(0.9),
                 gaps.quantile(0.99)};
  summary.duration_s = last - first;
  summary.requests_per_s = per(static_cast<double>(summary.finished), summary.duration_s);
  summary.goodput_per_s = per(static_cast<double>(summary.good), summary.duration_s);
  summary.output_tokens_per_s = per(output, summary.duration_s);
  summary.output_tokens_per_s_per_gpu = per(summary.output_tokens_per_s, static_cast<double>(gpus));
  summary.total_tokens_per_s = per(prompt + output, summary.duration_s);
  summary.shared_prompt_share = per(shared, prompt);
  return summary;
}

}  // namespace pentafold
