//===- LanguageModel.cpp - Which functions are language models ------------===//

#include "chorus/Transforms/LanguageModel.h"

using namespace mlir;

namespace chorus {

bool hasLanguageModelTypes(func::FuncOp function) {
  FunctionType type = function.getFunctionType();
  if (function.getSymName() != "main" || type.getNumInputs() != 1 ||
      type.getNumResults() != 1)
    return false;
  auto tokens = dyn_cast<RankedTensorType>(type.getInput(0));
  auto logits = dyn_cast<RankedTensorType>(type.getResult(0));
  return tokens && tokens.getRank() == 2 &&
         tokens.getElementType().isInteger(32) && tokens.isDynamicDim(0) &&
         tokens.isDynamicDim(1) && logits && logits.getRank() == 3 &&
         logits.getElementType().isF32() && logits.isDynamicDim(0) &&
         logits.isDynamicDim(1) && !logits.isDynamicDim(2);
}

bool isLanguageModel(func::FuncOp function) {
  if (!hasLanguageModelTypes(function))
    return false;
  auto tokens = function.getArgAttrOfType<StringAttr>(0, nameAttrName);
  auto logits = function.getResultAttrOfType<StringAttr>(0, nameAttrName);
  return tokens && tokens.getValue() == "tokens" && logits &&
         logits.getValue() == "logits";
}

bool isStepFunction(func::FuncOp function) {
  return function->hasAttr(stepAttrName);
}

} // namespace chorus
