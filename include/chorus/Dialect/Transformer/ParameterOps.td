//===- ParameterOps.td - Tensors known at compile time -----*- tablegen -*-===//

def Transformer_ParameterOp : Transformer_Op<"parameter", [Pure]> {
  let summary = "a tensor that lives in a source file";
  let description = [{
    Names a tensor of a source file; its bytes are never copied into the IR. With
    `layer`, there is one name for each layer and the op yields that layer's
    tensor: all have the same type.

    - `file`: path of a GGUF or safetensors file, relative to the module's own
      file.
    - `names`: one name, or one per layer if `layer` is given.

    Example:
    ```mlir
    %w = transformer.parameter "m.gguf" ["blk.0.ffn_up.weight"] : tensor<1536x576x!transformer.q4_1>
    ```
  }];
  let arguments = (ins StrAttr:$file, StrArrayAttr:$names, Optional<Index>:$layer);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $file $names (`[` $layer^ `]`)? attr-dict `:` type($result)
  }];
  let hasVerifier = 1;
}

def Transformer_RotaryTableOp : Transformer_Op<"rotary_table", [Pure]> {
  let summary = "cosines and sines of rotary position embedding";
  let description = [{
    `result[p, i, 0] = cos(p * f_i)`, `result[p, i, 1] = sin(p * f_i)` with
    `f_i = theta^(-i / pairs) / factors[i]`, computed in f64 and rounded once.

    - Shapes: `result` is [context, pairs, 2]; `factors` is [pairs].
    - `theta`: the base, dimensionless, positive and finite.
    - `factors`: frequency divisors (Llama 3.1 scaling); 1 where absent. A
      parameter, read at compile time.
    - Source: Su et al., "RoFormer", 2021.

    Example:
    ```mlir
    %t = transformer.rotary_table theta = 1.0e+05 : tensor<8192x32x2xf32>
    ```
  }];
  let arguments = (ins F64Attr:$theta, Optional<Transformer_F32Tensor>:$factors);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = [{
    `theta` `=` $theta (`factors` $factors^ `:` type($factors))? attr-dict `:` type($result)
  }];
  let hasVerifier = 1;
}
