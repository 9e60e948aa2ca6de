// Which queries attend together, and how a team shares them.
//
// Rows of one request in one call follow each other and share a block table; query heads that share
// a KV head do too. A tile is up to 16 (row, query head) pairs that read the keys of one request
// and KV head, so that a key that came from memory serves them all; no tile splits the keys of a
// query, so tiles change no bit. Source: FlashAttention (Dao et al. 2022) and the grouping of query
// heads in FlashDecoding. Cost: O(rows heads). Held by kernels/attention_test.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device.h"

namespace pentafold::cpu {

constexpr std::int64_t kTileQueries = 16;
// Tiles of at most so many queries, as in decode, follow each other from KV head to KV head: so
// many neighbouring heads stay in one part, and their keys and values are read in order.
constexpr std::int64_t kFewQueries = 8;
constexpr std::int64_t kHeadsTogether = 4;

struct AttentionTile {
  std::int64_t row = 0;  // first of the rows that share a block table
  std::int32_t head = 0;
  std::int32_t heads = 0;  // query heads head .. head + heads - 1 read kv_head
  std::int32_t kv_head = 0;
  Range queries;  // of these rows and heads, row by row; at most kTileQueries

  std::int64_t row_of(std::int64_t query) const { return row + query / heads; }
  std::int64_t head_of(std::int64_t query) const { return head + query % heads; }
};

std::vector<AttentionTile> attention_tiles(const AttentionArgs& args);

// Cuts the tiles into at most `most` runs of about equal cost, none so short that handing it out
// would show.
std::vector<Range> attention_parts(const AttentionArgs& args,
                                   const std::vector<AttentionTile>& tiles, std::int64_t most);

}  // namespace pentafold::cpu
