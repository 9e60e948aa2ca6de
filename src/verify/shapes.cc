// Shapes: every program can be walked from its first step to its last (shape_walk.h), and both
// phases of a rank share one KV cache.
#include <fmt/format.h>

#include "verify/shape_walk.h"

namespace pentafold {

void check_shapes(const Judged& judged, Findings& findings) {
  for (const RankProgram& program : judged.programs) {
    Range kv_heads;
    for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
      ShapeWalk walk(judged, program, phase);
      const std::string wrong = walk.walk();
      if (!wrong.empty()) {
        findings.add("shapes", program.place.stage,
                     fmt::format("{}: {}, {}{}", name_rank(program), to_string(phase), wrong,
                                 kLoweringFault));
      }
      if (phase == Phase::Decode && wrong.empty() && kv_heads != walk.kv_heads()) {
        findings.add("shapes", program.place.stage,
                     fmt::format("{}: prefill caches KV heads [{}, {}), decode reads [{}, {}){}",
                                 name_rank(program), kv_heads.begin, kv_heads.end,
                                 walk.kv_heads().begin, walk.kv_heads().end, kLoweringFault));
      }
      kv_heads = walk.kv_heads();
    }
  }
}

}  // namespace pentafold
