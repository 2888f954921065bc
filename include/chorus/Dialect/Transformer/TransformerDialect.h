//===- TransformerDialect.h - The transformer dialect -----------*- C++ -*-===//
#ifndef CHORUS_DIALECT_TRANSFORMER_TRANSFORMERDIALECT_H
#define CHORUS_DIALECT_TRANSFORMER_TRANSFORMERDIALECT_H

#include "mlir/IR/Dialect.h"

#include "chorus/Dialect/Transformer/TransformerDialect.h.inc"

#endif // CHORUS_DIALECT_TRANSFORMER_TRANSFORMERDIALECT_H
