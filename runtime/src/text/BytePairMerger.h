//===- BytePairMerger.h - Merge the bytes of a word -------------*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_BYTEPAIRMERGER_H
#define CHORUS_RT_TEXT_BYTEPAIRMERGER_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace chorus::rt {

/// Which pairs of tokens merge, in which order: a hash table from pairs to
/// ranks.
class MergeTable {
public:
  static constexpr uint32_t noRank = UINT32_MAX;

  /// Makes room for merges of ranks 0 to numMerges-1.
  void reserve(size_t numMerges);
  /// `rank` < numMerges, ids not negative. A pair that is there already keeps
  /// its rank; returns whether it was new.
  bool add(int32_t left, int32_t right, int32_t result, uint32_t rank);

  /// The rank of a pair, `noRank` if it does not merge; ids may be -1.
  uint32_t rank(int32_t left, int32_t right) const;
  /// What the pair of that rank becomes.
  int32_t result(uint32_t rank) const { return results[rank]; }

private:
  struct Slot {
    uint64_t pair;
    uint32_t rank;
  };
  size_t firstSlot(uint64_t pair) const;

  std::vector<Slot> slots; // A power of two; never more than half full.
  std::vector<int32_t> results;
  unsigned shift = 63;
};

/// Merges words. Holds only memory that is used again for the next word.
class BytePairMerger {
public:
  /// Merges the tokens from `ids[begin]` on in place, lowest rank first, of
  /// equal ranks the leftmost; -1 stands for a byte without a token, which
  /// merges with nothing and is removed at the end. Time O(n log n).
  void merge(const MergeTable &table, std::vector<int32_t> &ids, size_t begin);

private:
  struct Symbol {
    int32_t id;
    int32_t previous, next; // Indices, -1 at the ends.
    uint32_t rank;          // Of the pair with the next symbol.
  };

  std::vector<Symbol> symbols;
  std::vector<uint64_t> queue; // Min-heap of rank << 32 | index.
};

} // namespace chorus::rt

#endif // CHORUS_RT_TEXT_BYTEPAIRMERGER_H
