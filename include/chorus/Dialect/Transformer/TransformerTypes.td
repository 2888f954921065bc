//===- TransformerTypes.td - Block formats and states ------*- tablegen -*-===//

#ifndef CHORUS_DIALECT_TRANSFORMER_TRANSFORMERTYPES_TD
#define CHORUS_DIALECT_TRANSFORMER_TRANSFORMERTYPES_TD

include "chorus/Dialect/Transformer/TransformerDialect.td"
include "mlir/IR/AttrTypeBase.td"

class Transformer_Type<string name, string typeMnemonic>
    : TypeDef<Transformer_Dialect, name> {
  let mnemonic = typeMnemonic;
}

//===----------------------------------------------------------------------===//
// Block formats: element types whose values come in blocks of 32 along the last
// dimension.
//===----------------------------------------------------------------------===//

def Transformer_Q8_0Type : Transformer_Type<"Q8_0", "q8_0"> {
  let summary = "blocks of 32 int8 weights with one f16 scale";
  let description = [{
    `value = d * q`, q in [-128, 127]. 34 bytes a block as GGUF stores it.
  }];
}

def Transformer_Q4_0Type : Transformer_Type<"Q4_0", "q4_0"> {
  let summary = "blocks of 32 4-bit weights with one f16 scale";
  let description = [{
    `value = d * (q - 8)`, q in [0, 15]. 18 bytes a block as GGUF stores it.
  }];
}

def Transformer_Q4_1Type : Transformer_Type<"Q4_1", "q4_1"> {
  let summary = "blocks of 32 4-bit weights with an f16 scale and minimum";
  let description = [{
    `value = d * q + m`, q in [0, 15]. 20 bytes a block as GGUF stores it.
  }];
}

def Transformer_ActQ8Type : Transformer_Type<"ActQ8", "act_q8"> {
  let summary = "activations: blocks of 32 int8 with one f32 scale";
  let description = [{
    What `transformer.quantize_activations` makes and `transformer.linear`
    reads: `value = scale * q`, q in [-127, 127]. With two terms, `act_q8<2>`,
    `value = scale * (256 * q0 + q1)`: two digits.
  }];
  let parameters = (ins DefaultValuedParameter<"int64_t", "1">:$terms);
  let assemblyFormat = "(`<` $terms^ `>`)?";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// States of the step form.
//===----------------------------------------------------------------------===//

def Transformer_StateType : Transformer_Type<"State", "state"> {
  let summary = "per-sequence state that survives between steps";
  let description = [{
    A paged key-value cache of all layers: keys and values of every position,
    rounded to `elementType` (f16 or f32), in pages of 32 positions.

    Example: `!transformer.state<paged_kv, f16, layers = 30, kv_heads = 3, head_dim = 64>`
  }];
  let parameters = (ins "::mlir::Type":$elementType, "int64_t":$layers,
                    "int64_t":$kvHeads, "int64_t":$headDim);
  let assemblyFormat = [{
    `<` `paged_kv` `,` $elementType `,` `layers` `=` $layers `,`
    `kv_heads` `=` $kvHeads `,` `head_dim` `=` $headDim `>`
  }];
  let genVerifyDecl = 1;
}

def Transformer_AnyWeight : TensorOf<[F32, F16, BF16, Transformer_Q8_0Type,
                                      Transformer_Q4_0Type, Transformer_Q4_1Type]>;
def Transformer_F32Tensor : TensorOf<[F32]>;
def Transformer_I32Tensor : TensorOf<[I32]>;
def Transformer_Activation : TensorOf<[F32, Transformer_ActQ8Type]>;

#endif // CHORUS_DIALECT_TRANSFORMER_TRANSFORMERTYPES_TD
