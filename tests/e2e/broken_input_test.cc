// Plans, prompts, tokenizers and options that are wrong: what is refused, and in which words.
#include <gtest/gtest.h>

#include "e2e/checkpoint_edits.h"
#include "e2e/pentafold.h"
#include "e2e/refusal.h"

namespace pentafold::testing {
namespace {

constexpr const char* kTiny = "models/tiny-moe";

struct BrokenPlan {
  std::string name;
  std::string yaml;
  std::string says;
  int verify_code = 2;  // 1: well formed, but impossible
};

void PrintTo(const BrokenPlan& broken, std::ostream* out) {
  *out << broken.name;
}

std::vector<BrokenPlan> broken_plans() {
  const std::string bomb =
      "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\n"
      "c: &c [*b, *b, *b, *b, *b, *b, *b, *b]\ntp: *c\n";
  return {
      {"HeadsNotDivided", "tp: 3\n", "tp = 3 does not divide 8 attention heads", 1},
      {"ExpertsNotDivided", "dp: 3\nep: 3\n", "ep = 3 does not divide 16 experts", 1},
      {"MeshesDoNotFold", "tp: 2\nep: 4\netp: 2\n", "does not fold onto", 1},
      {"LayersOffByOne", "stages:\n  - {layers: 4}\n  - {layers: 3}\n", "7 layers", 1},
      {"MoreStagesThanLayers", "pp: 9\n", "9", 1},
      {"MemoryTooSmall", "device_memory: 1MB\nkv_blocks: 64\n", "a device has 1.00 MB", 1},
      {"Bomb", bomb, "anchor or alias"},
      {"NestedDeep", "tp: " + std::string(20'000, '[') + "\n", "levels deep"},
      {"UnknownKey", "tp: 2\nprefil_chunk: 64\n", "did you mean \"prefill_chunk\"?"},
      {"UnknownKeyLine", "tp: 2\nfrobnicate: 64\n", "plan.yaml:2: unknown key"},
      {"WrongType", "tp: two\n", "tp must be a whole number, not \"two\""},
      {"ListForANumber", "tp: [2]\n", "tp must be a whole number, not a list"},
      {"KeyTwice", "tp: 2\ntp: 4\n", "appears twice"},
      {"NotYaml", "tp: {2\n", "not valid YAML"},
      {"Empty", "", "is empty"},
      {"Binary", std::string("\x00\x01\xFF\xFE\x7F", 5), "plan.yaml"},
      {"NoReplicas", "replicas: 0\n", "replicas"},
      {"BillionReplicas", "replicas: 1000000000\n", "replicas"},
      {"BillionRanks", "dp: 4096\ntp: 4096\nsp: 64\n", "65536 ranks"},
      {"NegativeCapacity", "capacity_factor: -1\n", "capacity_factor"},
      {"CapacityNan", "capacity_factor: .nan\n", "capacity_factor"},
      {"PlacementUnknown", "placement: random\n", "placement"},
      {"StageWithoutLayers", "stages:\n  - {tp: 2}\n", "layers"},
      {"TooManyRequests", "requests: {count: 1000000, prompt_tokens: 1000000, max_tokens: 1}\n",
       "requests"},
  };
}

class BrokenPlanTest : public ::testing::TestWithParam<BrokenPlan> {};

TEST_P(BrokenPlanTest, IsRefusedInOneSentence) {
  const BrokenPlan& broken = GetParam();
  const ScratchFolder folder;
  const std::string plan = folder.write("plan.yaml", broken.yaml);
  EXPECT_TRUE(refused(pentafold({"run", plan, "--model", kTiny, "--prompt-ids", "1"}),
                      {plan, broken.says}));
  const ProcessResult verdict = pentafold({"verify", plan, "--model", kTiny});
  EXPECT_EQ(verdict.exit_code, broken.verify_code) << verdict.out << verdict.err;
  EXPECT_NE((verdict.out + verdict.err).find(broken.says), std::string::npos)
      << verdict.out << verdict.err;
}

std::string plan_name(const ::testing::TestParamInfo<BrokenPlan>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Plans, BrokenPlanTest, ::testing::ValuesIn(broken_plans()), plan_name);

struct BrokenSpec {
  std::string name;
  std::string line;  // added to a sound shape spec
  std::string says;
};

TEST(BrokenShapeSpec, IsRefusedInOneSentence) {
  const std::string sound =
      "layers: 2\nd: 64\nvocab: 64\nexperts: 4\nexpert_hidden: 32\nweights: synthetic\n";
  const std::vector<BrokenSpec> cases = {
      {"kv", "heads: 4\nkv_heads: 3\ntop_k: 2\n", "KV heads"},
      {"top", "heads: 4\ntop_k: 5\n", "top_k"},
      {"odd", "heads: 4\nhead_dim: 3\ntop_k: 2\n", "head_dim is 3"},
      {"zero", "heads: 0\ntop_k: 2\n", "heads"},
      {"text", "heads: four\ntop_k: 2\n", "heads must be a whole number"},
      {"unknown", "heads: 4\ntop_k: 2\nhead_dims: 8\n", "did you mean \"head_dim\"?"},
      {"declared", "heads: 4\ntop_k: 2\ndeclared_total_params: lots\n", "declared_total_params"},
  };
  const ScratchFolder folder;
  for (const BrokenSpec& broken : cases) {
    const std::string spec = folder.write(broken.name + ".yaml", sound + broken.line);
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"run", "--plan", "tp=1", "--model", spec, "--prompt-ids", "1"}, {"inspect", spec}}) {
      EXPECT_TRUE(refused(pentafold(arguments), {spec, broken.says})) << broken.name;
    }
  }
}

struct BrokenTokenizer {
  std::string says;
  Edit breaks;
};

TEST(BrokenTokenizerFile, IsRefusedInOneSentence) {
  const char* file = "tokenizer.json";
  const auto merge = [&](const Json& pair) {
    return edit_json(file, [=](Json& json) { json["model"]["merges"][7] = pair; });
  };
  const auto split = [&](const std::string& regex) {
    return edit_json(file, [=](Json& json) {
      json["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"Regex", regex}}},
                               {"behavior", "Isolated"},
                               {"invert", false}};
    });
  };
  const std::vector<BrokenTokenizer> cases = {
      {"\"left right\"", merge("abc")},
      {"merges[7] joins 'qqqq' and 'e'", merge("qqqq e")},
      {"'zq' is not in model.vocab", merge(Json::array({"zq", "zq"}))},
      {"JSON", replace_file(file, "{\"model\": ")},
      {"nest deeper", replace_file(file, "{\"model\":" + std::string(50'000, '['))},
      {"Unigram", edit_json(file, [](Json& json) { json["model"]["type"] = "Unigram"; })},
      {"does not compile", split("(unclosed")},
      {"pre_tokenizer", edit_json(file, [](Json& json) { json["pre_tokenizer"] = 7; })},
      {"twice", edit_json(file, [](Json& json) { json["model"]["vocab"]["the"] = 1; })},
  };
  for (const BrokenTokenizer& broken : cases) {
    const ScratchFolder folder;
    folder.copy_in(repo("tests/golden/mixtral"));
    folder.write(file, read_bytes(repo("models/tiny-moe/tokenizer.json")));
    broken.breaks(folder);
    const ProcessResult result =
        pentafold({"run", "--plan", "tp=1", "--model", folder.path(), "--prompt", "hi"});
    EXPECT_TRUE(refused(result, {folder.path(file), broken.says}));
  }
}

struct BrokenOptions {
  std::string says;
  std::vector<std::string> arguments;
};

TEST(BrokenOptions, AreRefusedInOneSentence) {
  const std::vector<BrokenOptions> cases = {
      {"--nonsense", {"run", "--nonsense"}},
      {"say what to do: plan, explain, predict, simulate", {}},
      {"did you mean \"verify\"", {"verfy", "specs/plans/tiny-tp2-ep4.yaml"}},
      {"see pentafold inspect --help", {"inspect"}},
      {"frobnicate", {"frobnicate"}},
      {"no plan", {"run", "--model", kTiny, "--prompt", "hi"}},
      {"no model", {"run", "--plan", "tp=2", "--prompt", "hi"}},
      {"not both", {"run", "specs/plans/tiny-tp2-ep4.yaml", "--plan", "tp=2", "--prompt", "hi"}},
      {"no/plan.yaml: cannot be opened as a plan", {"run", "no/plan.yaml", "--prompt", "hi"}},
      {"no/model", {"run", "--plan", "tp=2", "--model", "no/model", "--prompt", "hi"}},
      {"no/model", {"inspect", "no/model"}},
      {"key=value", {"run", "--plan", "fast", "--model", kTiny, "--prompt", "hi"}},
      {"did you mean \"ep\"", {"run", "--plan", "eep=2", "--model", kTiny, "--prompt", "hi"}},
      {"does not divide 8 attention heads",
       {"run", "--plan", "tp=3", "--model", kTiny, "--prompt", "hi"}},
      {"--rank 4: the plan has ranks 0 to 3",
       {"program", "specs/plans/tiny-tp2-ep4.yaml", "--rank", "4"}},
  };
  for (const BrokenOptions& broken : cases) {
    EXPECT_TRUE(refused(pentafold(broken.arguments), {broken.says}));
  }
}

TEST(BrokenRequests, AreRefusedInOneSentence) {
  const std::vector<BrokenOptions> cases = {
      {"nothing to run", {}},
      {"token id 4096 is outside the vocabulary of 4096", {"--prompt-ids", "1,4096"}},
      {"token id -1 is outside", {"--prompt-ids", "-1"}},
      {"prompt is empty", {"--prompt-ids", ""}},
      {"not a list of token ids", {"--prompt-ids", "1,x\n\x1b[31m"}},
      {"not a list of token ids", {"--prompt-ids", "99999999999999999999"}},
      {"max tokens must be 1 to", {"--prompt", "hi", "--max-tokens", "0"}},
      {"exceed the model's 2048 positions", {"--prompt", "hi", "--max-tokens", "100000"}},
      {"--max-tokens", {"--prompt", "hi", "--max-tokens", "many"}},
      {"--temperature: must be 0 to", {"--prompt", "hi", "--temperature", "nan"}},
      {"--temperature: must be 0 to", {"--prompt", "hi", "--temperature", "-1"}},
      {"--top-p: must be 0 to 1", {"--prompt", "hi", "--top-p", "1.5"}},
      {"--top-k: must be 0 or more", {"--prompt", "hi", "--top-k", "-1"}},
      {"--seed: must be 0 or more", {"--prompt", "hi", "--seed", "-1"}},
      {"--timeout: must be", {"--prompt", "hi", "--timeout", "inf"}},
      {"no device 'tpu'", {"--prompt", "hi", "--device", "tpu"}},
      {"no/batch.txt: no such file", {"--batch", "no/batch.txt"}},
      {"tests/e2e: is not a regular file", {"--batch", "tests/e2e"}},
      {"no/logits.npy: logits cannot be written",
       {"--prompt", "hi", "--logits-out", "no/logits.npy"}},
      {"it is a folder", {"--prompt", "hi", "--logits-out", "tests"}},
  };
  for (const BrokenOptions& broken : cases) {
    std::vector<std::string> arguments = {"run", "--plan", "tp=2,ep=4", "--model", kTiny};
    arguments.insert(arguments.end(), broken.arguments.begin(), broken.arguments.end());
    EXPECT_TRUE(refused(pentafold(arguments), {broken.says}));
  }
}

TEST(BrokenRequests, BatchFilesNameTheLine) {
  const ScratchFolder folder;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"prompt\": ", "not a JSON object"},
      {"{\"prompt\": 7}", "needs \"prompt\""},
      {"{\"prompt\": \"a\", \"max_token\": 7}", "did you mean \"max_tokens\"?"},
      {"{\"prompt\": \"a\", \"prompt_ids\": [1]}", "has both"},
      {"{\"prompt\": \"a\", \"max_tokens\": \"7\"}", "max_tokens must be an integer"},
      {"{\"prompt\": \"a\", \"max_tokens\": 18446744073709551615}", "max tokens must be 1 to"},
      {"{\"prompt_ids\": [1, 2.5]}", "prompt_ids must be integers"},
      {"{\"prompt_ids\": [1, 18446744073709551615]}", "outside the vocabulary"},
      {"{\"prompt_ids\": []}", "prompt is empty"},
      {std::string(100'000, '{'), "not a JSON object"},
  };
  for (const auto& [line, says] : cases) {
    const std::string file = folder.write("batch.jsonl", "a sound line\n\n" + line + "\n");
    EXPECT_TRUE(refused(pentafold({"run", "--plan", "tp=1", "--model", kTiny, "--batch", file}),
                        {file + ":3: ", says}));
  }
  const std::string empty = folder.write("empty.txt", "\n\n");
  EXPECT_TRUE(refused(pentafold({"run", "--plan", "tp=1", "--model", kTiny, "--batch", empty}),
                      {empty, "holds no prompt"}));
}

// A stack of 64 TiB a thread: the second or third thread cannot be made, on any machine.
TEST(TooManyRanks, AreAnErrorNotACrash) {
  const std::string script = "ulimit -s $((64 << 30)) || exit 99; exec \"$0\" \"$@\"";
  const ProcessResult result = run_process(
      {"bash", "-c", script, binary(), "run", "--plan", "dp=8", "--model", kTiny, "--prompt", "hi"},
      std::chrono::seconds(60), PENTAFOLD_SOURCE_DIR);
  if (result.exit_code == 99) GTEST_SKIP() << "the limit on stacks cannot be raised here";
  EXPECT_TRUE(refused(result, {"the system refused thread", "of 8"}));
}

// 2 TB for one matrix, where the process may have 4 GiB.
TEST(TooLittleMemory, IsAnErrorNotACrash) {
  const ScratchFolder folder;
  const std::string spec = folder.write(
      "huge.yaml",
      "layers: 1\nd: 1000000\nheads: 1000\nvocab: 64\ndense_hidden: 64\nweights: synthetic\n");
  const std::string script = "ulimit -v $((4 << 20)) || exit 99; exec \"$0\" \"$@\"";
  const ProcessResult result = run_process({"bash", "-c", script, binary(), "run", "--plan", "tp=2",
                                            "--model", spec, "--prompt-ids", "1"},
                                           std::chrono::seconds(60), PENTAFOLD_SOURCE_DIR);
  if (result.err.find("Sanitizer") != std::string::npos) {
    GTEST_SKIP() << "a sanitizer needs the address space itself";
  }
  EXPECT_TRUE(refused(result, {"the system refused memory"}));
}

}  // namespace
}  // namespace pentafold::testing
