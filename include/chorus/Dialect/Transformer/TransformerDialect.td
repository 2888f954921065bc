//===- TransformerDialect.td - The transformer dialect -----*- tablegen -*-===//

#ifndef CHORUS_DIALECT_TRANSFORMER_TRANSFORMERDIALECT_TD
#define CHORUS_DIALECT_TRANSFORMER_TRANSFORMERDIALECT_TD

include "mlir/IR/OpBase.td"

def Transformer_Dialect : Dialect {
  let name = "transformer";
  let cppNamespace = "::chorus::transformer";
  let summary = "building blocks of transformer models, on tensors";
  let description = [{
    Each op is a thing that a practitioner would name. Its meaning is its
    decomposition to linalg (`-convert-transformer-to-linalg`); every faster
    form is compared with that. Whatever upstream dialects say well (residual
    additions, slices, reshapes) stays there.

    Two forms share the ops. The *graph form* is stateless: token rows are
    `[batch, seq]` and attention sees the keys and values of its own call. The
    *step form* has rows `[T]` of many sequences; attention also appends to and
    reads from a `!transformer.state`.
  }];
  let useDefaultTypePrinterParser = 1;
}

#endif // CHORUS_DIALECT_TRANSFORMER_TRANSFORMERDIALECT_TD
