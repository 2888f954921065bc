//===- MLIRImporter.h - MLIR text to the graph form -------------*- C++ -*-===//

#ifndef CHORUS_IMPORT_MLIR_MLIRIMPORTER_H
#define CHORUS_IMPORT_MLIR_MLIRIMPORTER_H

#include "chorus/Import/Import.h"

namespace chorus {

/// Parses and verifies MLIR text: at least one public function, each with
/// ranked tensors as arguments and results, made of the ops of `transformer`,
/// `linalg`, `tensor`, `arith`, `math`, `scf` and `func`. Parameters are
/// resolved relative to the folder of `path`.
///
/// Errors carry the place `FILE:LINE:COLUMN` and one of the codes M01 (nested
/// too deep), M02 (tensor too large), M03 (literal), M04 (unknown dialect or
/// op), M05 (symbols), M06 (a verifier's message), M08 (too many ops, exit 4),
/// M09 (no plain text), `syntax` (anything else that the parser refuses), the
/// codes of ParameterStore, or `unsupported`.
rt::StatusOr<ImportedModel> importMLIR(const std::string &path,
                                       const ImportOptions &options,
                                       mlir::MLIRContext &context);

} // namespace chorus

#endif // CHORUS_IMPORT_MLIR_MLIRIMPORTER_H
