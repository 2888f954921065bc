//===- Import.cpp - From a model file to the graph form -------------------===//

#include "chorus/Import/Import.h"

#include "chorus/Import/GGUF/GGUFImporter.h"

using namespace chorus;

rt::StatusOr<ImportedModel> chorus::importModel(const std::string &path,
                                                const ImportOptions &options,
                                                mlir::MLIRContext &context) {
  return importGGUF(path, options, context);
}
