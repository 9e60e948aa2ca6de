#include "kernels/cpu/attention_tile.h"

#include <algorithm>

#include "kernels/kv_layout.h"

namespace pentafold::cpu {
namespace {

// Products of query and key elements worth a part of their own: some microseconds where every query
// has keys of its own to fetch.
constexpr std::int64_t kPartProducts = 16384;

// Appends the tiles of `rows`, which share a block table.
void tile_rows(const AttentionArgs& a, Range rows, std::vector<AttentionTile>& tiles) {
  AttentionTile tile;
  tile.row = rows.begin;
  for (std::int64_t head = 0; head < a.q_heads; head += tile.heads) {
    const auto kv = a.kv_of_q.begin() + head;
    const auto other =
        std::find_if(kv, a.kv_of_q.end(), [&](std::int32_t of) { return of != *kv; });
    tile.head = static_cast<std::int32_t>(head);
    tile.heads = static_cast<std::int32_t>(other - kv);
    tile.kv_head = *kv;
    const std::int64_t queries = rows.size() * tile.heads;
    for (std::int64_t q = 0; q < queries; q += kTileQueries) {
      tile.queries = {q, std::min(q + kTileQueries, queries)};
      tiles.push_back(tile);
    }
  }
}

// Keys that the tile's last query reads, for each of its queries.
std::int64_t cost(const AttentionArgs& a, const AttentionTile& tile) {
  const std::int64_t last = tile.row_of(tile.queries.end - 1);
  return visible_keys(a.positions[static_cast<std::size_t>(last)], a.window).size() *
         tile.queries.size() * a.cache.head_dim;
}

// Whether heads that pass together would be parted before `tile`.
bool parts_heads(const AttentionArgs& a, const AttentionTile& tile) {
  return tile.queries.size() <= kFewQueries && a.cache.kv_heads >= kHeadsTogether &&
         tile.kv_head % kHeadsTogether != 0;
}

}  // namespace

std::vector<AttentionTile> attention_tiles(const AttentionArgs& a) {
  std::vector<AttentionTile> tiles;
  std::int64_t end = 0;
  for (std::int64_t begin = 0; begin < a.rows; begin = end) {
    const std::int32_t* table = a.block_tables[static_cast<std::size_t>(begin)];
    while (end < a.rows && a.block_tables[static_cast<std::size_t>(end)] == table) ++end;
    tile_rows(a, {begin, end}, tiles);
  }
  return tiles;
}

std::vector<Range> attention_parts(const AttentionArgs& a, const std::vector<AttentionTile>& tiles,
                                   std::int64_t most) {
  std::int64_t total = 0;
  for (const AttentionTile& tile : tiles) total += cost(a, tile);
  const std::int64_t enough = total / std::clamp<std::int64_t>(total / kPartProducts, 1, most);
  std::vector<Range> parts;
  Range part;
  std::int64_t spent = 0;
  for (const AttentionTile& tile : tiles) {
    if (spent >= enough && !parts_heads(a, tile)) {
      parts.push_back(part);
      part.begin = part.end;
      spent = 0;
    }
    ++part.end;
    spent += cost(a, tile);
  }
  if (!part.empty()) parts.push_back(part);
  return parts;
}

}  // namespace pentafold::cpu
