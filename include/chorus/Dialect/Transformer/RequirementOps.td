//===- RequirementOps.td - What callers must see to --------*- tablegen -*-===//

def Transformer_RequireIndicesOp : Transformer_Op<"require_indices"> {
  let summary = "the elements of an argument are indices below a bound";
  let description = [{
    `0 <= indices[..] < below`: whoever calls the function checks it before the
    call, no code does. The artifact carries it with the entry.

    - `indices` is an argument of the function, or a cast of one.
    - `below` is a constant or a `tensor.dim`.

    Example:
    ```mlir
    %vocab = arith.constant 512 : index
    transformer.require_indices %tokens below %vocab : tensor<?xi32>
    ```
  }];
  let arguments = (ins TensorOf<[AnySignlessInteger]>:$indices, Index:$below);
  let assemblyFormat = "$indices `below` $below attr-dict `:` type($indices)";
  let hasVerifier = 1;
}

def Transformer_RequireSizeOp : Transformer_Op<"require_size"> {
  let summary = "a dimension is at most as long as another";
  let description = [{
    `size <= at_most`: whoever calls the function checks it before the call, no
    code does. The artifact carries it with the entry.

    - Both are constants or `tensor.dim`.

    Example:
    ```mlir
    %second = arith.constant 1 : index
    %context = arith.constant 8192 : index
    %seq = tensor.dim %tokens, %second : tensor<?x?xi32>
    transformer.require_size %seq at_most %context
    ```
  }];
  let arguments = (ins Index:$size, Index:$at_most);
  let assemblyFormat = "$size `at_most` $at_most attr-dict";
}
