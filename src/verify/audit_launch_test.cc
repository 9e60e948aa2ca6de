#include "verify/audit_launch.h"

#include <gtest/gtest.h>

namespace pentafold {
namespace {

std::int64_t world(const std::string& line) {
  const auto launch = parse_launch(line);
  EXPECT_TRUE(launch.ok()) << line;
  return launch.ok() ? launch->world : -1;
}

TEST(AuditLaunch, EachLauncherCountsInItsWay) {
  EXPECT_EQ(world("deepspeed --num_gpus=16 --num_nodes=4 \\\n  run.py"), 64);
  EXPECT_EQ(world("deepspeed --num_gpus 8 run.py"), 8);
  EXPECT_EQ(world("torchrun --nproc-per-node=8 --nnodes=2 run.py"), 16);
  EXPECT_EQ(world("mpirun -np 32 ./run"), 32);
  EXPECT_EQ(world("srun --nodes=4 --ntasks-per-node=8 run"), 32);
  EXPECT_EQ(world("accelerate launch --num_processes 4 run.py"), 4);
  EXPECT_EQ(world("vllm serve m --tensor-parallel-size 4 --data-parallel-size 2"), 8);
  EXPECT_EQ(world("python -m sglang.launch_server --tp-size 16 --dp-size 16"), 16);
  EXPECT_EQ(world("deepspeed run.py"), 0);
}

TEST(AuditLaunch, DegreesAreRead) {
  const auto launch = parse_launch("deepspeed --num_gpus=4 --pp_size=4 --ep-size 16 --dp_size=2");
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(launch->degrees,
            (std::map<std::string, std::int64_t>{{"pp", 4}, {"ep", 16}, {"dp", 2}}));
}

TEST(AuditLaunch, RefusesUnknownLaunchers) {
  EXPECT_FALSE(parse_launch("./run --np 4").ok());
  EXPECT_FALSE(parse_launch("").ok());
  EXPECT_FALSE(parse_launch(std::string(10000, 'x')).ok());
  EXPECT_EQ(world("torchrun --nproc_per_node=-8 --nnodes=99999999999"), 0);
}

}  // namespace
}  // namespace pentafold
