//===- TextScan.h - A look at MLIR text before its parser -------*- C++ -*-===//
//
// MLIR's parser recurses with the nesting of its input, so that deep text ends
// in a stack overflow. This scan walks the text once, without recursion and
// with memory for one alias table, and refuses what must not reach the parser.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_IMPORT_MLIR_TEXTSCAN_H
#define CHORUS_LIB_IMPORT_MLIR_TEXTSCAN_H

#include "chorus_rt/Status.h"

#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace chorus {

/// Deepest nesting of brackets, aliases and chained operators.
constexpr uint32_t maxMLIRNesting = 256;
/// Most operations of one module.
constexpr uint64_t maxMLIROperations = 250'000;
/// Largest text.
constexpr uint64_t maxMLIRBytes = uint64_t(64) << 20;

/// Refuses, with `file:LINE:COLUMN` as the place: M01 (nested deeper than
/// `maxMLIRNesting`), M09 (bytecode, byte-order mark, NUL, carriage return,
/// split marker), M03 (alignment of a resource); exit 4: M08 (too long, or too
/// many operations). `file` is escaped. The nesting counts what aliases stand
/// for, and operators between two commas, by which affine expressions nest.
rt::Status scanMLIRText(llvm::StringRef text, llvm::StringRef file);

} // namespace chorus

#endif // CHORUS_LIB_IMPORT_MLIR_TEXTSCAN_H
