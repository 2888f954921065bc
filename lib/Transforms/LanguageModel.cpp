//===- LanguageModel.cpp - Which functions are language models ------------===//

#include "chorus/Transforms/LanguageModel.h"

using namespace mlir;

namespace chorus {

/// tensor<?x?xWxf32>
static bool isRowsOfF32(Type type) {
  auto rows = dyn_cast<RankedTensorType>(type);
  return rows && rows.getRank() == 3 && rows.getElementType().isF32() &&
         rows.isDynamicDim(0) && rows.isDynamicDim(1) && !rows.isDynamicDim(2);
}

bool hasLanguageModelTypes(func::FuncOp function) {
  FunctionType type = function.getFunctionType();
  if (function.getSymName() != "main" || type.getNumInputs() != 1 ||
      type.getNumResults() < 1 || type.getNumResults() > 2 ||
      !llvm::all_of(type.getResults(), isRowsOfF32))
    return false;
  if (type.getNumResults() == 2 &&
      cast<RankedTensorType>(type.getResult(1)).getDimSize(2) != 1)
    return false;
  auto tokens = dyn_cast<RankedTensorType>(type.getInput(0));
  return tokens && tokens.getRank() == 2 &&
         tokens.getElementType().isInteger(32) && tokens.isDynamicDim(0) &&
         tokens.isDynamicDim(1);
}

bool isLanguageModel(func::FuncOp function) {
  if (!hasLanguageModelTypes(function))
    return false;
  auto isNamed = [](Attribute attribute, StringRef name) {
    auto found = dyn_cast_or_null<StringAttr>(attribute);
    return found && found.getValue() == name;
  };
  return isNamed(function.getArgAttr(0, nameAttrName), "tokens") &&
         isNamed(function.getResultAttr(0, nameAttrName), "logits") &&
         (function.getNumResults() == 1 ||
          isNamed(function.getResultAttr(1, nameAttrName), "value"));
}

bool isStepFunction(func::FuncOp function) {
  return function->hasAttr(stepAttrName);
}

} // namespace chorus
