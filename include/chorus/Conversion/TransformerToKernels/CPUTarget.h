//===- CPUTarget.h - Tile choices for one level of x86-64 -------*- C++ -*-===//
//
// The one table of kernel shapes. Everything here changes speed only: the
// numeric contract (docs/NumericContract.md) gives the same bits for every
// choice.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_CONVERSION_TRANSFORMERTOKERNELS_CPUTARGET_H
#define CHORUS_CONVERSION_TRANSFORMERTOKERNELS_CPUTARGET_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace chorus {

/// One code variant of an artifact. A further level is one more row in
/// CPUTarget.cpp.
struct CPUTarget {
  llvm::StringRef name;         ///< "x86-64-v4": name in the artifact.
  llvm::StringRef llvmCPU;      ///< LLVM's -mcpu.
  llvm::StringRef llvmFeatures; ///< LLVM's -mattr.
  llvm::StringRef cpuFeatures;  ///< Needed at run time, /proc/cpuinfo names.
  bool vnni;                    ///< vpdpbusd on 512 bits.

  // Products with int8 activations: rows x panels of 16 outputs.
  int64_t intRows, intPanels;
  int64_t intStreamRows;   ///< Up to here weights are unpacked in registers.
  int64_t intScratchBytes; ///< Unpacked weights kept in L1 between tiles.
  int64_t linesAhead;      ///< Of the next weights of a panel, asked for by a
                           ///< tile in each block until all are on their way.
  int64_t amxRows; ///< From here on AMX makes the integer sums; 0: nowhere.
  // Products with f32 activations.
  int64_t floatRows, floatPanels;
  // Attention: rows x vectors of 16 positions, rows x vectors of 16 channels.
  int64_t scoreRows, scoreVectors;
  int64_t valueRows, valueVectors;
  int64_t softmaxRows; ///< Whose sums and maxima are formed together: 8 or 16.
  int64_t widenRows;   ///< From here on a page is widened once, before its use.
  int64_t sharingRows; ///< From here on sequences that share a page do it
                       ///< together.
};

/// The variants that an artifact holds, best last.
llvm::ArrayRef<CPUTarget> getCPUTargets();

} // namespace chorus

#endif // CHORUS_CONVERSION_TRANSFORMERTOKERNELS_CPUTARGET_H
