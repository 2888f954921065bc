//===- HeadOps.td - From hidden states to distributions ----*- tablegen -*-===//

def Transformer_SelectRowsOp : Transformer_Op<"select_rows", [Pure]> {
  let summary = "rows of the batch whose outputs are wanted";
  let description = [{
    `result[r, :] = input[rows[r], :]`.

    - Shapes: `input` is [T, d], `rows` is [R], `result` is [R, d]. Row indices
      must lie in [0, T).

    Example:
    ```mlir
    %y = transformer.select_rows %x, %rows : tensor<?x576xf32>, tensor<?xi32> -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Transformer_F32Tensor:$input, Transformer_I32Tensor:$rows);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = "$input `,` $rows attr-dict `:` type($input) `,` type($rows) `->` type($result)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "::mlir::Value":$rows)>];
  let extraClassDeclaration = [{
    static ::mlir::RankedTensorType inferType(::mlir::Type input, ::mlir::Type rows);
  }];
}

def Transformer_LogSumExpOp : Transformer_Op<"log_sum_exp", [Pure]> {
  let summary = "natural logarithm of the sum of exponentials of each row";
  let description = [{
    `result[..] = log(sum_i exp(input[.., i]))`, with the row's maximum taken off
    first.

    - Shapes: `input` is [.., vocab], `result` is [..].

    Example:
    ```mlir
    %l = transformer.log_sum_exp %logits : tensor<?x49152xf32> -> tensor<?xf32>
    ```
  }];
  let arguments = (ins Transformer_F32Tensor:$input);
  let results = (outs Transformer_F32Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}
