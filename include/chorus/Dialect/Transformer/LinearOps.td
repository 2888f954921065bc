//===- LinearOps.td - Products with weights ----------------*- tablegen -*-===//

def Transformer_EmbeddingOp : Transformer_Op<"embedding", [Pure]> {
  let summary = "rows of a table, looked up by token id";
  let description = [{
    `result[.., :] = table[tokens[..], :]`, dequantised to f32.

    - Shapes: `tokens` is [..], `table` is [vocab, d_model], `result` is
      [.., d_model]. Token ids must lie in [0, vocab).

    Example:
    ```mlir
    %x = transformer.embedding %tokens, %table : tensor<?xi32>, tensor<512x64xf16> -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Transformer_I32Tensor:$tokens, Transformer_AnyWeight:$table);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = [{
    $tokens `,` $table attr-dict `:` type($tokens) `,` type($table) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Transformer_QuantizeActivationsOp : Transformer_Op<"quantize_activations", [Pure]> {
  let summary = "round rows to int8 in blocks of 32 with an f32 scale";
  let description = [{
    For each row and block of 32 values along the last dimension, with
    `a = max|x|`: `scale = a / 127`, `q = clamp(round(x * (1 / scale)), -127, 127)`
    to nearest, ties to even. A block whose `a` is below 2^-70 has scale 0 and
    zeros; a block with an infinity or NaN has a NaN scale and zeros.

    A result type of two terms rounds 256 times as finely: its values are
    `256 * q0 + q1`, its scale is `a / 127 / 256`, and a `q1` of -128 becomes
    -127. `q0` with the scale `a / 127` is the coarser rounding of one term.

    - Shapes: both are [.., d], d a multiple of 32.

    Example:
    ```mlir
    %q = transformer.quantize_activations %x : tensor<?x576xf32> -> tensor<?x576x!transformer.act_q8>
    ```
  }];
  let arguments = (ins Transformer_F32Tensor:$input);
  let results = (outs TensorOf<[Transformer_ActQ8Type]>:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Transformer_LinearOp : Transformer_Op<"linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "product of rows with weights stored [out, in]";
  let description = [{
    `result[.., n] = sum_k input[.., k] * weight[n, k] (+ residual[.., n])`, where
    several `weights` are joined along `out` in the order given.

    - Shapes: `input` is [.., in], each weight [out_i, in], `residual` and
      `result` are [.., sum of out_i]. Several weights have one element type.
    - Terms: a weight may read fewer terms of an `act_q8` input than there are:
      `terms` says how many, from the first on, for each weight.
    - Numerics: an f32 input is multiplied with the dequantised weight by a chain
      of fused multiply-adds in ascending k. An `act_q8` input needs weights in
      blocks: per block the integer sum is exact, and
      `acc = fma(sum * d, scale, acc)`, then for `q4_1`
      `acc = fma(m, scale * sum(q), acc)`, blocks ascending. The residual is
      added last.

    Example:
    ```mlir
    %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xbf16>) -> tensor<?x96xf32>
    %z = transformer.linear %x, %w plus %r : (tensor<?x64xf32>, tensor<96x64xbf16>, tensor<?x96xf32>) -> tensor<?x96xf32>
    %kv = transformer.linear %q, %wk, %wv terms [1, 2] : (tensor<?x64x!transformer.act_q8<2>>, tensor<32x64x!transformer.q8_0>, tensor<32x64x!transformer.q8_0>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Transformer_Activation:$input,
                   Variadic<Transformer_AnyWeight>:$weights,
                   Optional<Transformer_F32Tensor>:$residual,
                   OptionalAttr<DenseI64ArrayAttr>:$terms);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = [{
    $input `,` $weights (`plus` $residual^)? (`terms` $terms^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    /// Terms of the input: 0 where it is f32.
    int64_t getInputTerms();
    /// Terms of the input that weight `number` reads.
    int64_t getTermsOf(unsigned number);
  }];
  let hasVerifier = 1;
}

def Transformer_Activation_SiLU : I32EnumAttrCase<"silu", 0>;
def Transformer_ActivationKind : I32EnumAttr<"ActivationKind", "activation function of a gated linear unit",
                                             [Transformer_Activation_SiLU]> {
  let cppNamespace = "::chorus::transformer";
}

def Transformer_GLUOp : Transformer_Op<"glu", [Pure, AllTypesMatch<["gate", "up", "result"]>]> {
  let summary = "gated linear unit";
  let description = [{
    `result = activation(gate) * up`, elementwise;
    `silu(x) = x / (1 + exp(-x))`.

    - Source: Shazeer, "GLU Variants Improve Transformer", 2020.

    Example:
    ```mlir
    %y = transformer.glu silu %gate, %up : tensor<?x96xf32>
    ```
  }];
  let arguments = (ins Transformer_ActivationKind:$activation,
                   Transformer_F32Tensor:$gate, Transformer_F32Tensor:$up);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = "$activation $gate `,` $up attr-dict `:` type($result)";
}
