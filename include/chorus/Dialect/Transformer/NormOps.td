//===- NormOps.td - Normalisation --------------------------*- tablegen -*-===//

def Transformer_RMSNormOp : Transformer_Op<"rms_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "root-mean-square normalization of the last dimension";
  let description = [{
    Divides each row of `input` by its root-mean-square, then scales by `weight`:

        result[.., i] = (input[.., i] / sqrt(mean_j(input[.., j]^2) + epsilon)) * weight[i]

    - Shapes: `input`, `result` are [.., d_model]; `weight` is [d_model].
    - Numerics: f32; the row is multiplied by the reciprocal of the root.
    - `epsilon`: dimensionless, finite, positive.
    - Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    Example:
    ```mlir
    %y = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<?x2048xf32>, tensor<2048xf32>
    ```
  }];
  let arguments = (ins Transformer_F32Tensor:$input, Transformer_F32Tensor:$weight,
                   F64Attr:$epsilon);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = [{
    $input `,` $weight `epsilon` `=` $epsilon attr-dict `:` type($input) `,` type($weight)
  }];
  let hasVerifier = 1;
}
