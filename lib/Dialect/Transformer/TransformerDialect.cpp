//===- TransformerDialect.cpp - The transformer dialect -------------------===//

#include "chorus/Dialect/Transformer/TransformerDialect.h"
#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace chorus::transformer;

#include "chorus/Dialect/Transformer/TransformerDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "chorus/Dialect/Transformer/TransformerTypes.cpp.inc"

void TransformerDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "chorus/Dialect/Transformer/TransformerTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "chorus/Dialect/Transformer/TransformerOps.cpp.inc"
      >();
}

LogicalResult StateType::verify(function_ref<InFlightDiagnostic()> emitError,
                                Type elementType, int64_t layers,
                                int64_t kvHeads, int64_t headDim) {
  if (!elementType.isF16() && !elementType.isF32())
    return emitError() << "cache element type is " << elementType
                       << ", expected f16 or f32";
  if (layers <= 0 || kvHeads <= 0 || headDim <= 0)
    return emitError() << "layers, kv_heads and head_dim must be positive";
  return success();
}

LogicalResult ActQ8Type::verify(function_ref<InFlightDiagnostic()> emitError,
                                int64_t terms) {
  if (terms != 1 && terms != 2)
    return emitError() << "has " << terms << " terms, expected 1 or 2";
  return success();
}

namespace chorus::transformer {

std::optional<BlockFormat> getBlockFormat(Type elementType) {
  return llvm::TypeSwitch<Type, std::optional<BlockFormat>>(elementType)
      .Case<Q8_0Type>([](auto) { return BlockFormat{34, 128, false, 8}; })
      .Case<Q4_0Type>([](auto) { return BlockFormat{18, 8, false, 4}; })
      .Case<Q4_1Type>([](auto) { return BlockFormat{20, 0, true, 4}; })
      .Default([](Type) { return std::nullopt; });
}

} // namespace chorus::transformer
