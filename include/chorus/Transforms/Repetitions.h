//===- Repetitions.h - Periodic stretches of a sequence ---------*- C++ -*-===//

#ifndef CHORUS_TRANSFORMS_REPETITIONS_H
#define CHORUS_TRANSFORMS_REPETITIONS_H

#include "llvm/ADT/ArrayRef.h"

#include <cstddef>
#include <vector>

namespace chorus {

/// A stretch [begin, end) of a sequence in which each symbol equals the one
/// `period` later, at least two periods long.
struct Repetition {
  size_t begin, end, period;
};

/// All maximal repetitions of `text` with their smallest period, sorted by
/// begin, end and period. Fewer than text.size(), in O(n log n) time.
///
/// Bannai et al., "The runs theorem", 2017: a period of each repetition is a
/// longest Lyndon word of the text under one of two orders of the symbols.
std::vector<Repetition> findRepetitions(llvm::ArrayRef<unsigned> text);

} // namespace chorus

#endif // CHORUS_TRANSFORMS_REPETITIONS_H
