//===- ValueHead.cpp - A model's scores of its own texts ------------------===//

#include "chorus/Pipelines/ValueHead.h"

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus_rt/Safetensors.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"

#include <cassert>
#include <cmath>
#include <cstring>

using namespace chorus;
using namespace mlir;
using rt::SafetensorsDtype;
using rt::SafetensorsFile;
using rt::Status;
using rt::StatusOr;

/// How parameters name the file: it is none of the model's own.
static constexpr StringLiteral fileName = "value head";

namespace {

/// The tensors of one file.
class ValueHeadReader {
public:
  ValueHeadReader(const SafetensorsFile &file, const std::string &path)
      : file(file), shownPath(rt::escapeForMessage(path, 200)) {}

  /// Whether the file holds these tensors and no others.
  Status checkNames(llvm::ArrayRef<StringRef> names) const {
    for (StringRef name : names)
      if (!file.find(name))
        return rt::refused("G22", placeOf(name), "is missing");
    for (const rt::SafetensorsTensor &tensor : file.tensors())
      if (!llvm::is_contained(names, tensor.name))
        return rt::refused("G22", placeOf(tensor.name),
                           "belongs to no value head; one has weight and bias, "
                           "or token, gain and bias");
    return {};
  }

  Status readFloat(StringRef name, float &value) const {
    const rt::SafetensorsTensor &tensor = *file.find(name);
    CHORUS_RETURN_IF_ERROR(checkScalar(tensor, {SafetensorsDtype::F32}));
    std::memcpy(&value, tensor.data, sizeof value);
    if (!std::isfinite(value))
      return rt::refused("G23", placeOf(name), "is not finite");
    return {};
  }

  Status readToken(int64_t vocab, int32_t &token) const {
    const rt::SafetensorsTensor &tensor = *file.find("token");
    CHORUS_RETURN_IF_ERROR(
        checkScalar(tensor, {SafetensorsDtype::I64, SafetensorsDtype::I32}));
    int64_t value = 0;
    std::memcpy(&token, tensor.data, sizeof token);
    if (tensor.dtype == SafetensorsDtype::I64)
      std::memcpy(&value, tensor.data, sizeof value);
    else
      value = token;
    if (value < 0 || value >= vocab)
      return rt::refused("G22", placeOf("token"),
                         "is " + std::to_string(value) + ", allowed is 0 to " +
                             std::to_string(vocab - 1));
    token = static_cast<int32_t>(value);
    return {};
  }

  std::string placeOf(StringRef tensor) const {
    return shownPath + ": tensor '" + rt::escapeForMessage(tensor) + "'";
  }

private:
  Status checkScalar(const rt::SafetensorsTensor &tensor,
                     llvm::ArrayRef<SafetensorsDtype> dtypes) const {
    if (!llvm::is_contained(dtypes, tensor.dtype))
      return rt::unsupported(
          placeOf(tensor.name),
          std::string("dtype ") + rt::safetensorsDtypeName(tensor.dtype) +
              ", needed is " + rt::safetensorsDtypeName(dtypes.front()));
    if (!tensor.shape.empty())
      return rt::refused("G22", placeOf(tensor.name),
                         "has " + std::to_string(tensor.shape.size()) +
                             " dimensions, needed is a scalar");
    return {};
  }

  const SafetensorsFile &file;
  std::string shownPath;
};

} // namespace

/// Makes weight * hidden the second result of `function`.
static void addResult(func::FuncOp function, transformer::LinearOp logits,
                      Type weightElement) {
  Operation *terminator = function.front().getTerminator();
  OpBuilder builder(terminator);
  Location loc = NameLoc::get(builder.getStringAttr("value head"));
  auto hidden = cast<RankedTensorType>(logits.getInput().getType());
  SmallVector<int64_t> shape(hidden.getShape());
  Value weight = transformer::ParameterOp::create(
      builder, loc, RankedTensorType::get({1, shape.back()}, weightElement),
      builder.getStringAttr(fileName), builder.getStrArrayAttr({"weight"}),
      /*layer=*/Value());
  shape.back() = 1;
  Value value = transformer::LinearOp::create(
      builder, loc, hidden.clone(shape), logits.getInput(), ValueRange{weight},
      /*residual=*/Value(), /*terms=*/nullptr);
  terminator->insertOperands(1, value);
  LogicalResult inserted =
      function.insertResult(1, value.getType(),
                            builder.getDictionaryAttr(builder.getNamedAttr(
                                nameAttrName, builder.getStringAttr("value"))));
  assert(succeeded(inserted) && "a function without such a result");
  (void)inserted;
}

StatusOr<ValueHead> chorus::addValueHead(const std::string &path,
                                         ImportedModel &model) {
  StatusOr<SafetensorsFile> file = SafetensorsFile::open(path);
  CHORUS_RETURN_IF_ERROR(file.status());
  ValueHeadReader reader(*file, path);
  auto function = model.module->lookupSymbol<func::FuncOp>("main");
  if (!function || !isLanguageModel(function) ||
      !function.getBody().hasOneBlock())
    return rt::unsupported("value head", "the model is no language model");

  ValueHead head;
  if (!file->find("weight")) {
    CHORUS_RETURN_IF_ERROR(reader.checkNames({"token", "gain", "bias"}));
    CHORUS_RETURN_IF_ERROR(
        reader.readToken(model.metadata.vocabSize, head.token.emplace()));
    CHORUS_RETURN_IF_ERROR(reader.readFloat("gain", head.gain));
    CHORUS_RETURN_IF_ERROR(reader.readFloat("bias", head.bias));
    return head;
  }
  CHORUS_RETURN_IF_ERROR(reader.checkNames({"weight", "bias"}));
  CHORUS_RETURN_IF_ERROR(reader.readFloat("bias", head.bias));
  auto logits = function.front()
                    .getTerminator()
                    ->getOperand(0)
                    .getDefiningOp<transformer::LinearOp>();
  if (!logits || logits.getResidual())
    return rt::unsupported("value head",
                           "the model's logits are no transformer.linear whose "
                           "input it could read");
  std::string place = reader.placeOf("weight");
  const rt::SafetensorsTensor &weight = *file->find("weight");
  int64_t width =
      cast<RankedTensorType>(logits.getInput().getType()).getShape().back();
  if (weight.shape != std::vector<int64_t>{width})
    return rt::refused(
        "G22", place,
        "has shape [" +
            llvm::join(llvm::map_range(
                           weight.shape,
                           [](int64_t size) { return std::to_string(size); }),
                       ", ") +
            "], needed is [" + std::to_string(width) +
            "], the width of the hidden state before the vocabulary");
  model.parameters->add(fileName, std::move(*file));
  StatusOr<ParameterView> view =
      model.parameters->find(fileName, "weight", *model.module->getContext());
  CHORUS_RETURN_IF_ERROR(view.status());
  CHORUS_RETURN_IF_ERROR(model.parameters->checkFinite(fileName, "weight"));
  addResult(function, logits, view->elementType);
  return head;
}
