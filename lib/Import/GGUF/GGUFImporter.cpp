//===- GGUFImporter.cpp - GGUF files to the graph form --------------------===//

#include "chorus/Import/GGUF/GGUFImporter.h"

#include "../GraphBuilder.h"
#include "ModelKeys.h"
#include "TensorChecklist.h"
#include "Vocabulary.h"
#include "chorus/Dialect/Transformer/TransformerDialect.h"
#include "chorus/Import/Families/Family.h"
#include "chorus/Import/GGUF/GGUFFile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace chorus;
using gguf::GGUFFile;
using rt::Status;
using rt::StatusOr;

static Status readString(const GGUFFile &file, const char *key,
                         std::string &value) {
  if (!file.has(key))
    return {};
  StatusOr<std::string_view> text = file.getString(key, "G21");
  CHORUS_RETURN_IF_ERROR(text.status());
  value = std::string(*text);
  return {};
}

/// One of `general.sampling.*`, in [`least`, `most`].
static Status readSampling(const GGUFFile &file, const std::string &name,
                           double least, double most,
                           std::optional<double> &value) {
  std::string key = "general.sampling." + name;
  if (!file.has(key))
    return {};
  StatusOr<double> number = file.getFloat(key, "G21");
  CHORUS_RETURN_IF_ERROR(number.status());
  if (!(*number >= least && *number <= most))
    return rt::refused("G21", placeOfKey(file, key), "is out of range");
  value = *number;
  return {};
}

static Status readSamplingDefaults(const GGUFFile &file,
                                   SamplingDefaults &defaults) {
  CHORUS_RETURN_IF_ERROR(
      readSampling(file, "temp", 0, 1e6, defaults.temperature));
  CHORUS_RETURN_IF_ERROR(readSampling(file, "top_p", 0, 1, defaults.topP));
  CHORUS_RETURN_IF_ERROR(readSampling(file, "min_p", 0, 1, defaults.minP));
  // 0 switches both off in llama.cpp; here top-p is off at 1.
  if (defaults.topP == 0.0)
    defaults.topP = 1.0;
  if (std::string key = "general.sampling.top_k"; file.has(key)) {
    StatusOr<uint64_t> number = file.getUnsigned(key, "G21");
    CHORUS_RETURN_IF_ERROR(number.status());
    if (*number > UINT32_MAX)
      return rt::refused("G21", placeOfKey(file, key), "is out of range");
    defaults.topK = static_cast<uint32_t>(*number);
  }
  return {};
}

/// The family that the file names.
static StatusOr<const Family *> readFamily(const GGUFFile &file) {
  StatusOr<std::string_view> name =
      file.getString("general.architecture", "G21");
  CHORUS_RETURN_IF_ERROR(name.status());
  if (const Family *family = findFamily(*name))
    return family;
  return rt::unsupported(placeOfKey(file, "general.architecture"),
                         "model family '" + rt::escapeForMessage(*name) +
                             "' is not supported yet; supported are " +
                             familyNames());
}

/// Warns of keys that a family does not know: they may mean that the model
/// computes something else.
static void warnOfUnknownKeys(const ModelKeys &keys, ModelMetadata &metadata) {
  std::vector<std::string> unknown = keys.unknownKeys();
  if (unknown.empty())
    return;
  std::vector<std::string> shown;
  for (const std::string &key : llvm::ArrayRef(unknown).take_front(4))
    shown.push_back(rt::escapeForMessage(key));
  metadata.warnings.push_back(
      std::to_string(unknown.size()) +
      " keys are not known and have no effect: " + llvm::join(shown, ", ") +
      (unknown.size() > 4 ? ", .." : ""));
}

static Status readSourceFacts(const GGUFFile &file, ModelMetadata &metadata) {
  const rt::FileMapping &mapping = *file.mapping();
  StatusOr<rt::Sha256Digest> digest = mapping.sha256();
  CHORUS_RETURN_IF_ERROR(digest.status());
  metadata.sourceSha256 = rt::toHex(*digest);
  metadata.sourceBytes = mapping.size();
  return {};
}

StatusOr<ImportedModel> chorus::importGGUF(const std::string &path,
                                           const ImportOptions &options,
                                           mlir::MLIRContext &context) {
  context.loadDialect<transformer::TransformerDialect, mlir::func::FuncDialect,
                      mlir::arith::ArithDialect>();
  ImportedModel model;
  llvm::StringRef fileName = llvm::sys::path::filename(path);
  model.parameters = std::make_unique<ParameterStore>(
      path.substr(0, path.size() - fileName.size()));
  StatusOr<const GGUFFile *> opened = model.parameters->openGGUF(fileName);
  CHORUS_RETURN_IF_ERROR(opened.status());
  const GGUFFile &file = **opened;

  StatusOr<const Family *> family = readFamily(file);
  CHORUS_RETURN_IF_ERROR(family.status());
  ModelMetadata &metadata = model.metadata;
  metadata.architecture = (*family)->architecture.str();
  metadata.name = llvm::sys::path::stem(fileName).str();
  CHORUS_RETURN_IF_ERROR(readString(file, "general.name", metadata.name));
  CHORUS_RETURN_IF_ERROR(readString(file, "general.license", metadata.license));
  CHORUS_RETURN_IF_ERROR(readSamplingDefaults(file, metadata.sampling));

  ModelKeys keys(file, (*family)->architecture);
  TensorChecklist tensors(file);
  GraphBuilder graph(context, *model.parameters, fileName.str());
  FamilyImport import{keys, tensors, graph, metadata};
  CHORUS_RETURN_IF_ERROR((*family)->build(import));
  warnOfUnknownKeys(keys, metadata);
  CHORUS_RETURN_IF_ERROR(importVocabulary(file, metadata));

  for (const gguf::Tensor *tensor : tensors.used()) {
    metadata.numParameters += tensor->numElements();
    if (!options.allowNonfinite)
      CHORUS_RETURN_IF_ERROR(file.checkFinite(*tensor));
  }
  CHORUS_RETURN_IF_ERROR(readSourceFacts(file, metadata));
  CHORUS_RETURN_IF_ERROR(file.checkUnchanged());

  model.module = graph.takeModule();
  if (mlir::failed(mlir::verify(*model.module)))
    return Status::error(rt::ExitCode::Internal, "internal", file.name(),
                         "the imported graph does not verify");
  return model;
}
