//===- Passes.td - Rewrites from graph form to fused form --*- tablegen -*-===//

#ifndef CHORUS_TRANSFORMS_PASSES
#define CHORUS_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

class CacheTypeOption<string variable, string flag> :
    Option<variable, flag, "::chorus::CacheType", "::chorus::CacheType::F16",
           "element type of the cache",
           [{::llvm::cl::values(
             clEnumValN(::chorus::CacheType::F16, "f16", "half precision"),
             clEnumValN(::chorus::CacheType::F32, "f32", "single precision"))}]>;

//===----------------------------------------------------------------------===//
// Lossy choices
//===----------------------------------------------------------------------===//

def QuantizeActivationsPass : Pass<"chorus-quantize-activations", "::mlir::func::FuncOp"> {
  let summary = "Round the inputs of products with block weights to int8";
  let description = [{
    Every `transformer.linear` whose weights are in a block format and whose
    input is f32 reads the input through `transformer.quantize_activations`:
    one for each distinct input. Weights in f32, f16 and bf16 keep f32 inputs.

    ```mlir
    %q = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64x!transformer.q4_1>) -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    %xq = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
    %q = transformer.linear %xq, %w : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q4_1>) -> tensor<?x96xf32>
    ```
  }];
  let dependentDialects = ["::chorus::transformer::TransformerDialect"];
}

def RoundKeysAndValuesPass : Pass<"chorus-round-keys-and-values", "::mlir::func::FuncOp"> {
  let summary = "Round a language model's keys and values to the type of the cache";
  let description = [{
    The key and value of every attention in a language model's `@main` go
    through `transformer.round_to_cache`, so that the stateless form computes
    what the step form, which reads them from a cache, will compute. With
    `type=f32` a cache changes nothing and neither does the pass. Plain
    functions have no cache and are left alone.
  }];
  let options = [CacheTypeOption<"cacheType", "type">];
  let dependentDialects = ["::chorus::transformer::TransformerDialect"];
}

//===----------------------------------------------------------------------===//
// The step program
//===----------------------------------------------------------------------===//

def DeriveStepPass : Pass<"chorus-derive-step", "::mlir::ModuleOp"> {
  let summary = "Derive the step program over a ragged batch from a stateless language model";
  let description = [{
    Replaces `@main`, tokens [batch, seq] to logits, by `@step`: T tokens of many
    sequences with their positions, the rows whose outputs are wanted, and a
    paged cache. An analysis first classes every value by how it depends on
    positions (see PositionAnalysis.h); what mixes with the future or in an
    unknown way is an error that names the op. The rewrite is then local:

    - [batch, seq, ..] becomes [T, ..];
    - `rotary` reads the positions, `attention` its layer of the cache;
    - of the logits the wanted rows are selected, and each row's `log_sum_exp`
      is a second result.

    A module whose `@main` is not a language model is left alone. Remarks:
    `-remarks-filter-analyse=chorus-derive-step` prints the class of each value.
  }];
  let options = [CacheTypeOption<"cacheType", "cache-type">];
  let dependentDialects = ["::chorus::transformer::TransformerDialect",
                           "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

//===----------------------------------------------------------------------===//
// The reference
//===----------------------------------------------------------------------===//

def DeriveReferencePass : Pass<"chorus-derive-reference", "::mlir::func::FuncOp"> {
  let summary = "Make a stateless language model a plain entry that can be driven";
  let description = [{
    `@main`, tokens [batch, seq] to logits, gets each row's `log_sum_exp` as a
    second result, and takes one sequence: [1, seq]. Inside, the batch stays
    dynamic, behind casts. Other functions are left alone.
  }];
  let dependentDialects = ["::chorus::transformer::TransformerDialect",
                           "::mlir::tensor::TensorDialect"];
}

//===----------------------------------------------------------------------===//
// Plain entries
//===----------------------------------------------------------------------===//

def RequireIndicesPass : Pass<"chorus-require-indices", "::mlir::func::FuncOp"> {
  let summary = "Say what callers must check so that no op reads outside a tensor";
  let description = [{
    Token ids, row numbers and positions pick places in a tensor, and `rotary`
    without positions takes one row of its table for each place of a sequence.
    Each such op of a plain function gets a `transformer.require_indices` or
    `transformer.require_size` before it. So does `tensor.extract` in the body of
    a linalg op: its indices are constants, `linalg.index`, or elements of the
    op's inputs; others are an error.

    A step function is left alone: its arguments are the runtime's own.

    ```mlir
    %y = transformer.embedding %tokens, %table : tensor<?xi32>, tensor<512x64xf16> -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %vocab = arith.constant 512 : index
    transformer.require_indices %tokens below %vocab : tensor<?xi32>
    %y = transformer.embedding %tokens, %table : tensor<?xi32>, tensor<512x64xf16> -> tensor<?x64xf32>
    ```
  }];
  let dependentDialects = ["::chorus::transformer::TransformerDialect",
                           "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

//===----------------------------------------------------------------------===//
// Fusion, on the step form
//===----------------------------------------------------------------------===//

def FuseLinearsPass : Pass<"chorus-fuse-linears", "::mlir::func::FuncOp"> {
  let summary = "Join products that read the same input (Q/K/V, gate and up)";
  let description = [{
    In a step function, `transformer.linear` ops with the same input and weights
    of one element type become one product whose result is sliced. Each must
    have no residual and outputs in multiples of 16, the rows of a weight panel.

    ```mlir
    %q = transformer.linear %x, %wq : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
    %k = transformer.linear %x, %wk : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
    ```
    becomes
    ```mlir
    %c0 = arith.constant 0 : index
    %qk = transformer.linear %x, %wq, %wk : (tensor<?x64xf32>, tensor<64x64xf16>, tensor<32x64xf16>) -> tensor<?x96xf32>
    %n = tensor.dim %qk, %c0 : tensor<?x96xf32>
    %q = tensor.extract_slice %qk[0, 0] [%n, 64] [1, 1] : tensor<?x96xf32> to tensor<?x64xf32>
    %k = tensor.extract_slice %qk[0, 64] [%n, 32] [1, 1] : tensor<?x96xf32> to tensor<?x32xf32>
    ```
    A product that shares its input but stays alone is a missed remark.
  }];
  let dependentDialects = ["::chorus::transformer::TransformerDialect",
                           "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def FuseResidualsPass : Pass<"chorus-fuse-residuals", "::mlir::func::FuncOp"> {
  let summary = "Add residuals in the epilogue of the product before them";
  let description = [{
    In a step function, `arith.addf` of a `transformer.linear` without other use
    and a residual becomes `transformer.linear .. plus residual`. The bits are
    those of the two ops: the residual is added last.
  }];
  let dependentDialects = ["::chorus::transformer::TransformerDialect"];
}

def RollLayersPass : Pass<"chorus-roll-layers", "::mlir::func::FuncOp"> {
  let summary = "Roll repeated layers into loops over the layer index";
  let description = [{
    Finds repetitions in the straight-line code of a step function by structure:
    p ops that follow each other n >= 2 times, equal in op, attributes and types,
    whose operands are the corresponding values of the same or the previous
    period or one value from before. Parameters may differ by name, and the layer
    of an attention rises by the attentions of a period. Each repetition becomes
    an `scf.for` whose index picks the parameter and the layer of the cache;
    values that pass from one period to the next are its `iter_args`. The
    largest saving goes first, then the rest is searched again.

    Time is O(n p log(n p)) for n layers of p ops. Rotary tables and constants
    are moved to the front.
  }];
  let dependentDialects = ["::chorus::transformer::TransformerDialect",
                           "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

def HoistRowSelectionPass : Pass<"chorus-hoist-row-selection", "::mlir::func::FuncOp"> {
  let summary = "Compute the vocabulary product of the wanted rows only";
  let description = [{
    Moves `transformer.select_rows` above the chain of token-wise ops before it
    (vocabulary product, final norm), as long as an op reads one value with rows
    and nobody else reads what it makes. A loop over layers ends the chain, so
    this runs after layers are rolled: all of them then stay equal.

    ```mlir
    %y = transformer.rms_norm %x, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
    %l = transformer.linear %y, %w : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
    %s = transformer.select_rows %l, %rows : tensor<?x96xf32>, tensor<?xi32> -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
    %y = transformer.rms_norm %s, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
    %l = transformer.linear %y, %w : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
    ```
  }];
  let dependentDialects = ["::chorus::transformer::TransformerDialect"];
}

//===----------------------------------------------------------------------===//
// Contracts
//===----------------------------------------------------------------------===//

def VerifyFormPass : Pass<"chorus-verify-form", "::mlir::ModuleOp"> {
  let summary = "Check that a module keeps the contract of a form";
  let description = [{
    The contracts are those of docs/Phases.md. Functions other than the step
    program are held to the graph form.
  }];
  let options = [
    Option<"form", "form", "::chorus::Form", "::chorus::Form::Graph", "the form to check",
           [{::llvm::cl::values(
             clEnumValN(::chorus::Form::Graph, "graph", "stateless tensors"),
             clEnumValN(::chorus::Form::Step, "step", "rows of many sequences, with a cache"),
             clEnumValN(::chorus::Form::Fused, "fused", "merged products, rolled layers"))}]>
  ];
}

#endif // CHORUS_TRANSFORMS_PASSES
