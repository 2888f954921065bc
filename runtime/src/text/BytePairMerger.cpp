//===- BytePairMerger.cpp - Merge the bytes of a word ---------------------===//

#include "BytePairMerger.h"

#include <algorithm>
#include <cassert>
#include <functional>

namespace chorus::rt {

// No pair: both ids would be -1.
static constexpr uint64_t emptySlot = UINT64_MAX;

static uint64_t pairOf(int32_t left, int32_t right) {
  return uint64_t(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

size_t MergeTable::firstSlot(uint64_t pair) const {
  // Multiplicative hashing with 2^64 divided by the golden ratio; the shift
  // before it brings the left id into the low bits.
  pair ^= pair >> 29;
  return static_cast<size_t>((pair * 0x9E3779B97F4A7C15u) >> shift);
}

void MergeTable::reserve(size_t numMerges) {
  size_t size = 2;
  shift = 63;
  while (size < 2 * numMerges) {
    size *= 2;
    --shift;
  }
  slots.assign(size, {emptySlot, noRank});
  results.assign(numMerges, -1);
}

bool MergeTable::add(int32_t left, int32_t right, int32_t result,
                     uint32_t rank) {
  assert(left >= 0 && right >= 0 && rank < results.size());
  uint64_t pair = pairOf(left, right);
  size_t slot = firstSlot(pair);
  while (slots[slot].pair != emptySlot) {
    if (slots[slot].pair == pair)
      return false;
    slot = (slot + 1) & (slots.size() - 1);
  }
  slots[slot] = {pair, rank};
  results[rank] = result;
  return true;
}

uint32_t MergeTable::rank(int32_t left, int32_t right) const {
  if (left < 0 || right < 0)
    return noRank;
  uint64_t pair = pairOf(left, right);
  size_t slot = firstSlot(pair);
  while (slots[slot].pair != pair) {
    if (slots[slot].pair == emptySlot)
      return noRank;
    slot = (slot + 1) & (slots.size() - 1);
  }
  return slots[slot].rank;
}

void BytePairMerger::merge(const MergeTable &table, std::vector<int32_t> &ids,
                           size_t begin) {
  size_t count = ids.size() - begin;
  symbols.clear();
  queue.clear();
  for (size_t i = 0; i < count; ++i) {
    int32_t index = static_cast<int32_t>(i);
    bool isLast = i + 1 == count;
    uint32_t rank = isLast ? MergeTable::noRank
                           : table.rank(ids[begin + i], ids[begin + i + 1]);
    symbols.push_back(
        {ids[begin + i], index - 1, isLast ? -1 : index + 1, rank});
    if (rank != MergeTable::noRank)
      queue.push_back(uint64_t(rank) << 32 | i);
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());

  auto updatePair = [&](int32_t left) {
    Symbol &symbol = symbols[left];
    symbol.rank = symbol.next < 0
                      ? MergeTable::noRank
                      : table.rank(symbol.id, symbols[symbol.next].id);
    if (symbol.rank == MergeTable::noRank)
      return;
    queue.push_back(uint64_t(symbol.rank) << 32 | static_cast<uint32_t>(left));
    std::push_heap(queue.begin(), queue.end(), std::greater<>());
  };

  while (!queue.empty()) {
    uint64_t best = queue.front();
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    queue.pop_back();
    int32_t index = static_cast<int32_t>(best & UINT32_MAX);
    uint32_t rank = static_cast<uint32_t>(best >> 32);
    Symbol &left = symbols[index];
    // A rank belongs to one pair of tokens, so an entry whose rank is no longer
    // the symbol's own is out of date.
    if (left.rank != rank)
      continue;
    Symbol &right = symbols[left.next];
    left.id = table.result(rank);
    left.next = right.next;
    if (right.next >= 0)
      symbols[right.next].previous = index;
    right.rank = MergeTable::noRank;
    updatePair(index);
    if (left.previous >= 0)
      updatePair(left.previous);
  }

  ids.resize(begin);
  if (count == 0)
    return;
  for (int32_t i = 0; i >= 0; i = symbols[i].next)
    if (symbols[i].id >= 0)
      ids.push_back(symbols[i].id);
}

} // namespace chorus::rt
