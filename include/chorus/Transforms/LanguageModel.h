//===- LanguageModel.h - Which functions are language models ----*- C++ -*-===//

#ifndef CHORUS_TRANSFORMS_LANGUAGEMODEL_H
#define CHORUS_TRANSFORMS_LANGUAGEMODEL_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace chorus {

/// Names an argument or result of an entry.
constexpr llvm::StringLiteral nameAttrName = "transformer.name";
/// Marks a function as a step program.
constexpr llvm::StringLiteral stepAttrName = "transformer.step";

/// Whether `function` is `@main` with the types of a stateless language model:
/// tensor<?x?xi32> to tensor<?x?xVxf32>.
bool hasLanguageModelTypes(mlir::func::FuncOp function);

/// Whether, besides the types, the argument is named "tokens" and the result
/// "logits". Other functions are plain entries.
bool isLanguageModel(mlir::func::FuncOp function);

/// Whether `function` is a step program.
bool isStepFunction(mlir::func::FuncOp function);

} // namespace chorus

#endif // CHORUS_TRANSFORMS_LANGUAGEMODEL_H
