//===- MLIRImporter.cpp - MLIR text to the graph form ---------------------===//

#include "chorus/Import/MLIR/MLIRImporter.h"

#include "ModuleChecks.h"
#include "TextScan.h"
#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus_rt/FileMapping.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

#include <algorithm>

using namespace chorus;
using namespace mlir;
using rt::Status;
using rt::StatusOr;

namespace {

/// Where MLIR's parser and verifier say what is wrong: keeps the first error.
class FirstError {
public:
  /// `file` is the name of the text in locations, `shown` the same escaped.
  FirstError(MLIRContext &context, StringRef file, std::string shown)
      : file(file), shown(std::move(shown)),
        handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error &&
              message.empty())
            take(diagnostic);
          return success();
        }) {}

  bool found() const { return !message.empty(); }
  /// The error as a refusal; `defaultCode` if nothing in it says another.
  Status status(const char *defaultCode) const {
    return rt::refused(codeOf(defaultCode), place, message);
  }

private:
  void take(Diagnostic &diagnostic) {
    std::string text = diagnostic.str();
    message =
        rt::escapeForMessage(StringRef(text).split('\n').first.str(), 300);
    if (message.empty())
      message = "is not valid";
    place = placeOf(diagnostic.getLocation(), file, shown);
  }

  /// MLIR's messages have no codes; what they speak of gives one.
  const char *codeOf(const char *defaultCode) const {
    struct {
      const char *part, *code;
    } known[] = {
        {"not found for custom op", "M04"},
        {"custom op '", "M04"},
        {"unregistered", "M04"},
        {"dialect '", "M04"},
        {"unknown attribute `", "M04"},
        {"unknown  type `", "M04"},
        {"unknown type `", "M04"},
        {"invalid dimension", "M02"},
        {"redefinition of symbol", "M05"},
        {"does not reference", "M05"},
        {"elements literal", "M03"},
        {"dense<", "M03"},
        {"elements hex", "M03"},
        {"hex string", "M03"},
        {"containing hex digits", "M03"},
        {"blob", "M03"},
        {"resource", "M03"},
        {"inferred shape of elements", "M03"},
        {"tensor literal is invalid", "M03"},
        // Our types check themselves while they are parsed.
        {"cache element type is", "M06"},
        {"layers, kv_heads and head_dim", "M06"},
    };
    for (const auto &entry : known)
      if (StringRef(message).contains(entry.part))
        return entry.code;
    return defaultCode;
  }

  StringRef file;
  std::string shown, place, message;
  ScopedDiagnosticHandler handler;
};

/// Names of arguments or results: strings, each once.
Status checkNames(func::FuncOp function, const TextPlace &where, bool results) {
  unsigned count =
      results ? function.getNumResults() : function.getNumArguments();
  llvm::StringSet<> names;
  for (unsigned i = 0; i < count; ++i) {
    Attribute attribute = results
                              ? function.getResultAttr(i, "transformer.name")
                              : function.getArgAttr(i, "transformer.name");
    if (!attribute)
      continue;
    auto name = dyn_cast<StringAttr>(attribute);
    std::string which = (results ? "result " : "argument ") + std::to_string(i);
    if (!name || name.empty())
      return rt::refused("M06", where.of(function.getLoc()),
                         "transformer.name of " + which +
                             " must be a string that is not empty");
    if (!names.insert(name.getValue()).second)
      return rt::refused("M06", where.of(function.getLoc()),
                         "transformer.name '" +
                             rt::escapeForMessage(name.getValue()) + "' of " +
                             which + " is used twice");
  }
  return {};
}

/// Entries take and give ranked tensors.
Status checkEntries(ModuleOp module, const TextPlace &where) {
  bool hasEntry = false;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal())
      return rt::refused("M05", where.of(function.getLoc()),
                         "@" + rt::escapeForMessage(function.getName()) +
                             " has no body");
    if (!function.isPublic())
      continue;
    hasEntry = true;
    auto isRanked = [](Type type) { return isa<RankedTensorType>(type); };
    if (function.getNumArguments() == 0 || function.getNumResults() == 0 ||
        !llvm::all_of(function.getArgumentTypes(), isRanked) ||
        !llvm::all_of(function.getResultTypes(), isRanked))
      return rt::refused(
          "M06", where.of(function.getLoc()),
          "public function @" + rt::escapeForMessage(function.getName()) +
              " must take and give ranked tensors only, at least one of each");
    CHORUS_RETURN_IF_ERROR(checkNames(function, where, /*results=*/false));
    CHORUS_RETURN_IF_ERROR(checkNames(function, where, /*results=*/true));
  }
  if (!hasEntry)
    return rt::refused("M06", where.of(module.getLoc()),
                       "the module has no public function");
  return {};
}

/// What the text says about a language model: the width of @main's logits and
/// the shortest rotary table.
void readModelSizes(ModuleOp module, ModelMetadata &metadata) {
  auto function = module.lookupSymbol<func::FuncOp>("main");
  if (!function)
    return;
  for (unsigned i = 0; i < function.getNumResults(); ++i) {
    auto name = function.getResultAttrOfType<StringAttr>(i, "transformer.name");
    auto type = cast<RankedTensorType>(function.getResultTypes()[i]);
    if (name && name.getValue() == "logits" && type.getRank() > 0 &&
        !type.isDynamicDim(type.getRank() - 1))
      metadata.vocabSize = static_cast<uint32_t>(
          std::min<int64_t>(type.getShape().back(), UINT32_MAX));
  }
  function.walk([&](transformer::RotaryTableOp table) {
    auto context = static_cast<uint32_t>(std::min<int64_t>(
        cast<RankedTensorType>(table.getResult().getType()).getDimSize(0),
        UINT32_MAX));
    metadata.contextLength = metadata.contextLength == 0
                                 ? context
                                 : std::min(metadata.contextLength, context);
  });
}

} // namespace

StatusOr<ImportedModel> chorus::importMLIR(const std::string &path,
                                           const ImportOptions &options,
                                           MLIRContext &context) {
  context.loadDialect<transformer::TransformerDialect, func::FuncDialect,
                      arith::ArithDialect, math::MathDialect,
                      linalg::LinalgDialect, tensor::TensorDialect,
                      scf::SCFDialect>();
  StatusOr<rt::FileMapping> mapping = rt::FileMapping::open(path);
  CHORUS_RETURN_IF_ERROR(mapping.status());
  StringRef text(reinterpret_cast<const char *>(mapping->data()),
                 mapping->size());
  std::string shown = rt::escapeForMessage(path, 200);
  CHORUS_RETURN_IF_ERROR(scanMLIRText(text, shown));

  TextPlace where{path, shown};
  ImportedModel model;
  FirstError error(context, path, shown);
  // The parser wants a NUL behind the text.
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, path),
                             llvm::SMLoc());
  model.module = parseSourceFile<ModuleOp>(
      sources, ParserConfig(&context, /*verifyAfterParse=*/false));
  if (!model.module || error.found())
    return error.status("syntax");
  CHORUS_RETURN_IF_ERROR(checkModule(*model.module, where));
  if (failed(verify(*model.module)))
    return error.status("M06");
  CHORUS_RETURN_IF_ERROR(checkEntries(*model.module, where));

  StringRef fileName = llvm::sys::path::filename(path);
  model.parameters = std::make_unique<ParameterStore>(
      path.substr(0, path.size() - fileName.size()));
  CHORUS_RETURN_IF_ERROR(
      model.parameters->checkParameters(*model.module, options.allowNonfinite));

  ModelMetadata &metadata = model.metadata;
  metadata.name = llvm::sys::path::stem(fileName).str();
  readModelSizes(*model.module, metadata);
  metadata.numParameters = model.parameters->countValues(*model.module);
  StatusOr<rt::Sha256Digest> digest = mapping->sha256();
  CHORUS_RETURN_IF_ERROR(digest.status());
  metadata.sourceSha256 = rt::toHex(*digest);
  metadata.sourceBytes = mapping->size();
  CHORUS_RETURN_IF_ERROR(mapping->checkUnchanged("G26"));
  return model;
}
