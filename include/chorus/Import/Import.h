//===- Import.h - From a model file to the graph form -----------*- C++ -*-===//

#ifndef CHORUS_IMPORT_IMPORT_H
#define CHORUS_IMPORT_IMPORT_H

#include "chorus/Import/ModelMetadata.h"
#include "chorus/Import/ParameterStore.h"
#include "chorus_rt/Status.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <memory>
#include <string>

namespace chorus {

struct ImportOptions {
  /// Accept NaN and infinities in weights and block scales (G23).
  bool allowNonfinite = false;
};

/// A module in graph form that MLIR's verifier has accepted, with the files
/// that its parameters live in.
struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ModelMetadata metadata;
  /// Resolves the module's parameters, all of which exist with the types that
  /// the module gives them. File names are relative to the folder of the file
  /// that was imported.
  std::unique_ptr<ParameterStore> parameters;
};

/// Reads a GGUF file or MLIR text, whichever `path` holds. Loads the dialects
/// that it needs into `context`. Errors: docs of the two importers; G02 for a
/// file of another format, naming it.
rt::StatusOr<ImportedModel> importModel(const std::string &path,
                                        const ImportOptions &options,
                                        mlir::MLIRContext &context);

} // namespace chorus

#endif // CHORUS_IMPORT_IMPORT_H
