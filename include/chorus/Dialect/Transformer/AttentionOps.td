//===- AttentionOps.td - Attention and its inputs ----------*- tablegen -*-===//

def Transformer_Pairing_Adjacent : I32EnumAttrCase<"adjacent", 0>;
def Transformer_Pairing_Halves : I32EnumAttrCase<"halves", 1>;
def Transformer_RotaryPairing : I32EnumAttr<"RotaryPairing", "which channels of a head rotate together",
                                            [Transformer_Pairing_Adjacent, Transformer_Pairing_Halves]> {
  let cppNamespace = "::chorus::transformer";
}

def Transformer_RotaryOp : Transformer_Op<"rotary", [Pure,
                                                     AllTypesMatch<["input", "result"]>]> {
  let summary = "rotary position embedding of every head";
  let description = [{
    Rotates pairs of channels of each head by the angles of the row's position:

        a' = a * cos - b * sin,  b' = b * cos + a * sin

    with pair i = channels (2i, 2i + 1) if `adjacent`, (i, i + pairs) if `halves`.
    Channels from 2 * pairs on are kept.

    - Shapes: `input` is [.., seq, heads * head_dim] in the graph form and
      [T, heads * head_dim] with `positions` [T] in the step form; `table` is
      [context, pairs, 2], 2 * pairs <= head_dim.
    - Without `positions` a row's position is its index along `seq`.
    - Numerics: each output is one product and one fused multiply-add:
      `fma(a, cos, -(b * sin))`, `fma(b, cos, a * sin)`.
    - Source: Su et al., "RoFormer", 2021.

    Example:
    ```mlir
    %y = transformer.rotary adjacent %x, %table head_dim = 64 : tensor<?x?x576xf32>, tensor<8192x32x2xf32>
    ```
  }];
  let arguments = (ins Transformer_RotaryPairing:$pairing, Transformer_F32Tensor:$input,
                   Transformer_F32Tensor:$table, I64Attr:$head_dim,
                   Optional<Transformer_I32Tensor>:$positions);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = [{
    $pairing $input `,` $table (`at` $positions^ `:` type($positions))? `head_dim` `=` $head_dim attr-dict
    `:` type($input) `,` type($table)
  }];
  let hasVerifier = 1;
}

def Transformer_RoundToCacheOp : Transformer_Op<"round_to_cache", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "round keys or values to the cache's element type";
  let description = [{
    To nearest, ties to even; values beyond the type's range, infinities too,
    become its largest finite value of that sign. NaN stays NaN. The result is
    held in f32. With `f32` nothing changes.

    Example:
    ```mlir
    %y = transformer.round_to_cache %x to f16 : tensor<?x192xf32>
    ```
  }];
  let arguments = (ins Transformer_F32Tensor:$input, TypeAttr:$cacheType);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = "$input `to` $cacheType attr-dict `:` type($input)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Transformer_Mask_Causal : I32EnumAttrCase<"causal", 0>;
def Transformer_Mask_Full : I32EnumAttrCase<"full", 1>;
def Transformer_AttentionMask : I32EnumAttr<"AttentionMask", "which positions a row may see",
                                            [Transformer_Mask_Causal, Transformer_Mask_Full]> {
  let cppNamespace = "::chorus::transformer";
}

def Transformer_AttentionOp : Transformer_Op<"attention", [AttrSizedOperandSegments,
      DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
      AllTypesMatch<["query", "result"]>, AllTypesMatch<["key", "value"]>]> {
  let summary = "softmax attention with grouped heads";
  let description = [{
    For query head h and its key-value head h / (num_heads / num_kv_heads):

        result_i = sum_j softmax_j(scale * query_i . key_j) * value_j

    over the positions j that `mask` lets row i see.

    - Shapes: `query` is [batch, seq, num_heads * head_dim], `key` and `value` are
      [batch, seq, num_kv_heads * head_dim]. In the step form batch and seq become
      T: keys and values of all T rows are first appended to `cache` at `layer`
      and `positions`, then each row sees its own sequence up to its position.
    - Numerics: f32; the scaled query is rounded once; blocks of 32 positions in
      ascending order with a running maximum, partitions of 1,024 positions joined
      in ascending order (docs/NumericContract.md).
    - `scale`: multiplies the dot product.
    - Source: Vaswani et al., 2017; Ainslie et al., "GQA", 2023.

    Example:
    ```mlir
    %o = transformer.attention causal %q, %k, %v heads = 9 kv_heads = 3 scale = 1.25e-01 : tensor<?x?x576xf32>, tensor<?x?x192xf32>
    ```
  }];
  let arguments = (ins Transformer_AttentionMask:$mask, Transformer_F32Tensor:$query,
                   Transformer_F32Tensor:$key, Transformer_F32Tensor:$value,
                   Optional<Transformer_StateType>:$cache, Optional<Index>:$layer,
                   Optional<Transformer_I32Tensor>:$positions,
                   I64Attr:$num_heads, I64Attr:$num_kv_heads, F64Attr:$scale);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = [{
    $mask $query `,` $key `,` $value
    (`cache` $cache^ `[` $layer `]` `at` $positions `:` type($cache) `,` type($positions))?
    `heads` `=` $num_heads `kv_heads` `=` $num_kv_heads `scale` `=` $scale attr-dict
    `:` type($query) `,` type($key)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim() {
      return ::llvm::cast<::mlir::RankedTensorType>(getQuery().getType()).getShape().back() /
             static_cast<int64_t>(getNumHeads());
    }
  }];
}
