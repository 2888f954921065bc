//===- FiniteCheck.h - NaN and infinity in weights --------------*- C++ -*-===//

#ifndef CHORUS_IMPORT_GGUF_FINITECHECK_H
#define CHORUS_IMPORT_GGUF_FINITECHECK_H

#include "chorus/Import/GGUF/TensorType.h"
#include "chorus_rt/FileMapping.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <string>

namespace chorus::gguf {

/// A tensor of some file, in an element type that GGUF has too.
struct TensorBytes {
  TensorType type;
  const uint8_t *data; ///< At any alignment.
  uint64_t sizeBytes;
  uint64_t rowElements; ///< At least 1.
  std::string place;    ///< For messages.
};

/// Refuses (G23) NaN and infinity among the values, or among the blocks' scales
/// and minima, with first row and count. One pass over the bytes, whose pages
/// are given back on the way if they are of `mapping` (may be null). Types that
/// are not supported have the code `unsupported`.
rt::Status checkFinite(const TensorBytes &tensor,
                       const rt::FileMapping *mapping);

} // namespace chorus::gguf

#endif // CHORUS_IMPORT_GGUF_FINITECHECK_H
