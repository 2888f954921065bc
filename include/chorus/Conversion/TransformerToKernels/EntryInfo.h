//===- EntryInfo.h - What the artifact says about an entry ------*- C++ -*-===//

#ifndef CHORUS_CONVERSION_TRANSFORMERTOKERNELS_ENTRYINFO_H
#define CHORUS_CONVERSION_TRANSFORMERTOKERNELS_ENTRYINFO_H

#include "mlir/IR/BuiltinTypes.h"

#include <string>
#include <vector>

namespace chorus {

/// A fixed size, or the symbol of that number where `fixed` < 0.
struct EntryDim {
  int64_t fixed = -1;
  unsigned symbol = 0;

  static EntryDim of(int64_t size) { return {size, 0}; }
  static EntryDim ofSymbol(unsigned symbol) { return {-1, symbol}; }
  bool isFixed() const { return fixed >= 0; }
  bool operator==(const EntryDim &other) const {
    return fixed == other.fixed && (isFixed() || symbol == other.symbol);
  }
};

struct EntryTensor {
  std::string name;
  mlir::Type elementType;
  std::vector<EntryDim> dims;
};

/// bytes * product of the symbols' values, rounded up to 64.
struct ArenaSlot {
  uint64_t bytes = 0;
  std::vector<unsigned> symbols;
};

/// A paged key-value cache.
struct EntryState {
  mlir::Type elementType;
  int64_t layers, kvHeads, headDim;

  /// Bytes of the keys and values of one kv head in one page.
  int64_t headBytes() const;
  int64_t pageBytes() const { return layers * kvHeads * headBytes(); }
};

/// A dispatch, or one shape of a function inside it: what profiles and tests
/// name. Work as the artifact's schema defines it.
struct KernelInfo {
  std::string name;
  uint64_t int8Operations = 0, f32Operations = 0;
  bool perPosition = false;
  uint64_t weightBytes = 0;
  unsigned rowsSymbol = 0;
};

/// Every element of an input lies in [0, below).
struct IndexBound {
  unsigned input;
  EntryDim below;
  bool operator==(const IndexBound &other) const {
    return input == other.input && below == other.below;
  }
};

/// size <= atMost.
struct SizeBound {
  EntryDim size, atMost;
  bool operator==(const SizeBound &other) const {
    return size == other.size && atMost == other.atMost;
  }
};

struct EntryInfo {
  std::string name;     ///< Of the entry, for people.
  std::string function; ///< Symbol in the code.
  bool isStep = false;
  std::vector<std::string> symbols;
  std::vector<EntryTensor> inputs, outputs;
  std::vector<EntryState> states;
  std::vector<ArenaSlot> arena;
  std::vector<IndexBound> indexBounds; ///< Callers check these and the next.
  std::vector<SizeBound> sizeBounds;
};

} // namespace chorus

#endif // CHORUS_CONVERSION_TRANSFORMERTOKERNELS_ENTRYINFO_H
