//===- LanguageModel.h - Which functions are language models ----*- C++ -*-===//

#ifndef CHORUS_TRANSFORMS_LANGUAGEMODEL_H
#define CHORUS_TRANSFORMS_LANGUAGEMODEL_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace chorus {

/// Names an argument or result of an entry.
constexpr llvm::StringLiteral nameAttrName = "transformer.name";
/// Marks a function as a step program.
constexpr llvm::StringLiteral stepAttrName = "transformer.step";
/// Names of a step program's results; the last one is there with a value head.
constexpr llvm::StringLiteral stepResultNames[] = {"logits", "log_sum_exp",
                                                   "value"};

/// Whether `function` is `@main` with the types of a stateless language model:
/// tensor<?x?xi32> to tensor<?x?xVxf32>, and with a value head also to
/// tensor<?x?x1xf32>.
bool hasLanguageModelTypes(mlir::func::FuncOp function);

/// Whether, besides the types, the argument is named "tokens" and the results
/// "logits" and "value". Other functions are plain entries.
bool isLanguageModel(mlir::func::FuncOp function);

/// Whether `function` is a step program.
bool isStepFunction(mlir::func::FuncOp function);

} // namespace chorus

#endif // CHORUS_TRANSFORMS_LANGUAGEMODEL_H
