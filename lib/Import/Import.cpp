//===- Import.cpp - From a model file to the graph form -------------------===//

#include "chorus/Import/Import.h"

#include "chorus/Import/GGUF/GGUFImporter.h"
#include "chorus/Import/MLIR/MLIRImporter.h"
#include "chorus_rt/FileMapping.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace chorus;

/// Whether to read the file as MLIR text. Content decides; a name decides
/// which reader says what is wrong with a file that is neither.
static bool looksLikeMLIR(llvm::StringRef path, llvm::StringRef content) {
  if (content.starts_with("GGUF"))
    return false;
  if (path.ends_with(".mlir"))
    return true;
  if (path.ends_with(".gguf") || content.empty())
    return false;
  // Bytecode belongs to MLIR's reader too, which knows its error.
  if (content.starts_with("ML\xefR"))
    return true;
  // JSON and the header of safetensors begin with a brace, MLIR never does.
  llvm::StringRef head = content.take_front(4096);
  return !head.ltrim().starts_with("{") && llvm::all_of(head, [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 ? c != 0x7f : llvm::isSpace(c);
  });
}

rt::StatusOr<ImportedModel> chorus::importModel(const std::string &path,
                                                const ImportOptions &options,
                                                mlir::MLIRContext &context) {
  rt::StatusOr<rt::FileMapping> mapping = rt::FileMapping::open(path);
  CHORUS_RETURN_IF_ERROR(mapping.status());
  llvm::StringRef content(reinterpret_cast<const char *>(mapping->data()),
                          mapping->size());
  return looksLikeMLIR(path, content) ? importMLIR(path, options, context)
                                      : importGGUF(path, options, context);
}
