//===- GraphBuilder.h - The words in which families speak -------*- C++ -*-===//
//
// Builds the graph form's one function, @main: tokens [batch, seq] to logits
// [batch, seq, vocab]. Activations are f32. Parameters are named by tensor; an
// op for each stands before its first use.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_IMPORT_GRAPHBUILDER_H
#define CHORUS_LIB_IMPORT_GRAPHBUILDER_H

#include "chorus_rt/Status.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"

#include <string>

namespace chorus {

class ParameterStore;

enum class RotaryPairing { adjacent, halves };

/// Tensors that are named must exist with fitting shapes: families check them
/// first (TensorChecklist). Ops carry the names of their tensors as locations.
class GraphBuilder {
public:
  /// `fileName` is what parameters call the file; `parameters` must have it.
  GraphBuilder(mlir::MLIRContext &context, ParameterStore &parameters,
               std::string fileName);

  /// The function's argument: [batch, seq], i32.
  mlir::Value tokens() const { return tokenArgument; }
  /// Makes `logits` the function's result; call once, at the end.
  void setLogits(mlir::Value logits);
  /// The finished module.
  mlir::OwningOpRef<mlir::ModuleOp> takeModule();

  /// A tensor as it is stored.
  mlir::Value parameter(llvm::StringRef tensor);
  /// [context, pairs, 2]; `factorsTensor` names [pairs] divisors, or is empty.
  mlir::Value rotaryTable(int64_t context, int64_t pairs, double theta,
                          llvm::StringRef factorsTensor);
  /// Rows of the tensor [vocab, d_model].
  mlir::Value embedding(mlir::Value ids, llvm::StringRef tensor);
  mlir::Value rmsNorm(mlir::Value input, llvm::StringRef tensor,
                      double epsilon);
  /// Product with the tensor [out, in].
  mlir::Value linear(mlir::Value input, llvm::StringRef tensor);
  mlir::Value rotary(RotaryPairing pairing, mlir::Value heads,
                     mlir::Value table, int64_t headDim);
  mlir::Value causalAttention(mlir::Value query, mlir::Value key,
                              mlir::Value value, int64_t heads, int64_t kvHeads,
                              double scale);
  /// silu(gate) * up.
  mlir::Value swiglu(mlir::Value gate, mlir::Value up);
  mlir::Value add(mlir::Value a, mlir::Value b);

private:
  mlir::Location locationOf(llvm::StringRef tensor);
  mlir::RankedTensorType rowsOf(int64_t width);

  ParameterStore &parameters;
  std::string fileName;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::OpBuilder builder;
  mlir::Value tokenArgument;
  llvm::StringMap<mlir::Value> parameterValues;
};

} // namespace chorus

#endif // CHORUS_LIB_IMPORT_GRAPHBUILDER_H
