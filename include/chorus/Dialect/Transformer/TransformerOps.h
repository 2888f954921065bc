//===- TransformerOps.h - Ops of the transformer dialect --------*- C++ -*-===//
#ifndef CHORUS_DIALECT_TRANSFORMER_TRANSFORMEROPS_H
#define CHORUS_DIALECT_TRANSFORMER_TRANSFORMEROPS_H

#include "chorus/Dialect/Transformer/TransformerDialect.h"
#include "chorus/Dialect/Transformer/TransformerTypes.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "chorus/Dialect/Transformer/TransformerEnums.h.inc"

#define GET_OP_CLASSES
#include "chorus/Dialect/Transformer/TransformerOps.h.inc"

#endif // CHORUS_DIALECT_TRANSFORMER_TRANSFORMEROPS_H
