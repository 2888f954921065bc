//===- GGUFImporter.h - GGUF files to the graph form ------------*- C++ -*-===//

#ifndef CHORUS_IMPORT_GGUF_GGUFIMPORTER_H
#define CHORUS_IMPORT_GGUF_GGUFIMPORTER_H

#include "chorus/Import/Import.h"

namespace chorus {

/// Builds `@main: tokens [batch, seq] -> logits [batch, seq, vocab]` from the
/// file's tensors by the family that `general.architecture` names.
///
/// Errors: G01 to G20 and G26 from the reader; G21 (sizes that contradict each
/// other), G22 (tensors missing, unknown or of another shape), G23 (NaN or
/// infinity in weights), G24 (vocabulary), T03 to T05 (its merges and texts);
/// `unsupported` for a family, tensor type or feature that is valid but not
/// built. A tokenizer of another kind than byte-level BPE is no error: the
/// model is imported without one, with a warning.
rt::StatusOr<ImportedModel> importGGUF(const std::string &path,
                                       const ImportOptions &options,
                                       mlir::MLIRContext &context);

} // namespace chorus

#endif // CHORUS_IMPORT_GGUF_GGUFIMPORTER_H
