#include "support/validation_text.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "base/check.h"
#include "execute/engine.h"
#include "spec/load_model.h"

namespace pentafold::testing {
namespace {

constexpr std::int64_t kWindow = 256;
constexpr std::int64_t kWindows = 20;

std::string model_folder() {
  return std::string(PENTAFOLD_SOURCE_DIR) + "/models/tiny-moe";
}

// kWindow tokens and the one behind them, for each window.
std::vector<std::int32_t> validation_tokens() {
  std::ifstream file(model_folder() + "/training/valid.bin", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    std::uint16_t token = 0;
    std::memcpy(&token, bytes.data() + i, 2);
    tokens.push_back(token);
  }
  CHECK(std::ssize(tokens) >= kWindows * (kWindow + 1), "models/tiny-moe/training/valid.bin");
  return tokens;
}

std::vector<Request> windows(const std::vector<std::int32_t>& tokens) {
  std::vector<Request> requests;
  for (std::int64_t w = 0; w < kWindows; ++w) {
    Request request;
    request.id = RequestId(w);
    const auto from = tokens.begin() + w * (kWindow + 1);
    request.prompt.assign(from, from + kWindow);
    request.max_tokens = 1;
    requests.push_back(std::move(request));
  }
  return requests;
}

// What the next token cost.
double nats_of(std::span<const float> logits, std::int32_t next) {
  double sum = 0;
  const float most = *std::ranges::max_element(logits);
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  return std::log(sum) + most - logits[static_cast<std::size_t>(next)];
}

}  // namespace

ModelSpec shipped_model() {
  auto input = load_model(model_folder());
  CHECK(input.ok(), "models/tiny-moe");
  return input->model;
}

ValidationScore validation_score(const Plan& plan) {
  auto input = load_model(model_folder());
  CHECK(input.ok(), "models/tiny-moe");
  const ModelSpec& model = input->model;
  const std::vector<std::int32_t> tokens = validation_tokens();
  const std::vector<Request> requests = windows(tokens);
  auto source = WeightSource::open_checkpoint(input->checkpoint_dir, model);
  CHECK(source.ok(), "models/tiny-moe");
  EngineOptions options;
  options.all_logits = true;
  options.max_positions = kWindow + 1;
  options.blocks_per_group = blocks_needed(plan, requests);
  auto engine = Engine::start(plan, model, *source, options);
  CHECK(engine.ok(), "a plan of the shipped model");
  ValidationScore out;
  out.logits.resize(static_cast<std::size_t>(kWindows * kWindow * model.vocab));
  GenerateCallbacks callbacks;
  callbacks.on_logits = [&](const LogitRow& row) {
    const std::int64_t window = row.request.value;
    std::ranges::copy(row.logits,
                      out.logits.begin() + (window * kWindow + row.position) * model.vocab);
    const auto next = static_cast<std::size_t>(window * (kWindow + 1) + row.position + 1);
    out.nats += nats_of(row.logits, tokens[next]) / (kWindows * kWindow);
  };
  CHECK((*engine)->generate(requests, {}, callbacks).ok(), "a run of the shipped model");
  return out;
}

ScoreDistance distance(const ValidationScore& a, const ValidationScore& b) {
  ScoreDistance out{a.nats - b.nats, 0, 0};
  for (std::size_t i = 0; i < a.logits.size(); ++i) {
    const double gap = std::abs(static_cast<double>(a.logits[i]) - b.logits[i]);
    out.worst = std::max(out.worst, gap);
    out.rms += gap * gap / static_cast<double>(a.logits.size());
  }
  out.rms = std::sqrt(out.rms);
  return out;
}

}  // namespace pentafold::testing
