// MachineSpec: what kernels, transports and steps were measured to cost on one machine.
//
// A datasheet says what a device could do; this says what the engine's thread ranks get from the
// cores they share: `pentafold calibrate` fills it, a cluster file keeps it under `measured`
// (docs/cluster-format.md), predict/run_prediction.h prices programs with it.
// Times grow smoothly with sizes on a log scale, so tables are interpolated there and held at the
// edges. Cost: a plain value; a look-up is O(log points). Held by spec/machine_test.cc.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace pentafold {

class YamlMap;

// y over x, both above 0 and x ascending.
struct MeasuredCurve {
  std::vector<double> x;
  std::vector<double> y;
  double at(double where) const;
};

// Seconds for each row and each weight of a product, by the rows that share it and by the bytes
// that are read before the same weight is read again.
struct ProductTable {
  std::vector<double> working_sets;          // bytes, ascending
  std::vector<double> rows;                  // ascending
  std::vector<std::vector<double>> seconds;  // [working set][rows]
  double at(double rows_at_once, double working_set) const;
};

// A straight line: once a call, and for each unit of work.
struct LineCost {
  double call_s = 0;
  double unit_s = 0;
};

struct MachineSpec {
  std::string device;      // of kernels: "cpu"
  std::int64_t cores = 1;  // that ranks share

  // Products of bf16 weights: while other cores rest, and while all cores do the same.
  ProductTable product_alone;
  ProductTable product_shared;
  double product_call_s = 0;
  // To begin with a matrix that is not behind the last one in memory, by working set.
  MeasuredCurve product_start;
  // What leaves add to a product, for each row, output and leaf; by rows.
  MeasuredCurve leaf;

  // One query head over one block of 16 cached tokens that is near: once, and for each element of
  // the head. One row a request (decode), and many rows of one request (prefill).
  LineCost attend_one;
  LineCost attend_many;
  // What a byte of the cache costs beyond that, by working set.
  MeasuredCurve cache_byte;

  // An exchange in a group: delay while everybody waits, and work of each member, by members. Who
  // waits sleeps where there are more ranks than cores, and is then woken after exchange_wake.
  MeasuredCurve exchange_delay;
  MeasuredCurve exchange_wake;
  MeasuredCurve exchange_work;
  LineCost message;  // between two ranks: hand-over, and each byte read from another core
  LineCost step;     // of the engine: each step, and each rank in it
  std::map<std::string, LineCost> host;  // the rest of a program step, by its name
};

Result<MachineSpec> read_machine(const YamlMap& map);
// The mapping under `measured`, indented by two spaces.
std::string write_machine(const MachineSpec& machine);

}  // namespace pentafold
