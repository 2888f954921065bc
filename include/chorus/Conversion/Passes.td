//===- Passes.td - Conversions of the transformer dialect --*- tablegen -*-===//

#ifndef CHORUS_CONVERSION_PASSES
#define CHORUS_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

def ConvertTransformerToLinalgPass : Pass<"convert-transformer-to-linalg", "::mlir::func::FuncOp"> {
  let summary = "Replace every op by its definition in linalg";
  let description = [{
    The decomposition defines each op: it is written to be read, and
    `chorus-compile --reference` runs it. What stays of the dialect are
    parameters, rotary tables and what callers must check. A parameter in a block format is read as the
    bytes of its file, `tensor<N x K/32 x blockBytes x i8>`; a tensor of
    `act_q8` becomes three for each term: values, scales, scaled sums.

    Elementwise ops and splat constants on tensors become linalg too. An
    attention that reads a cache is an error: only the stateless form has a
    definition.

    ```mlir
    %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xf32>) -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    func.func @y(%x: tensor<?x64xf32>, %w: tensor<96x64xf32>) -> tensor<?x96xf32> {
      %c0 = arith.constant 0.0 : f32
      %first = arith.constant 0 : index
      %rows = tensor.dim %x, %first : tensor<?x64xf32>
      %empty = tensor.empty(%rows) : tensor<?x96xf32>
      %zero = linalg.fill ins(%c0 : f32) outs(%empty : tensor<?x96xf32>) -> tensor<?x96xf32>
      %y = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>,
                                            affine_map<(d0, d1, d2) -> (d1, d2)>,
                                            affine_map<(d0, d1, d2) -> (d0, d1)>],
                           iterator_types = ["parallel", "parallel", "reduction"]}
          ins(%x, %w : tensor<?x64xf32>, tensor<96x64xf32>) outs(%zero : tensor<?x96xf32>) {
      ^bb0(%a: f32, %b: f32, %sum: f32):
        %next = math.fma %b, %a, %sum : f32
        linalg.yield %next : f32
      } -> tensor<?x96xf32>
      return %y : tensor<?x96xf32>
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
}

def DecomposeWithoutKernelPass : Pass<"chorus-decompose-without-kernel", "::mlir::func::FuncOp"> {
  let summary = "Replace the ops that no kernel handles by their definition in linalg";
  let description = [{
    Stateless attention, rotary embedding without positions, products with
    weights that are no parameters, and elementwise ops other than a sum of
    rows have no kernels: they only occur in plain functions, and are
    decomposed as `-convert-transformer-to-linalg` does it. Everything else
    stays. A parameter that both products and other ops read is named twice,
    since products read panels.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
}

def ConvertTransformerToKernelsPass : Pass<"convert-transformer-to-kernels", "::mlir::ModuleOp"> {
  let summary = "Emit kernels and host programs for one CPU level";
  let description = [{
    Replaces the module's functions (fused form and plain functions, of ops
    that have kernels) by the kernel form: functions of the llvm dialect over
    scf, arith, vector and linalg. Each public function `@f` becomes the
    exported `@chorus_entry_f`; what runs in one dispatch is one function
    `@"f.N.kind"`.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"x86-64-v4\"", "CPU level: a name of CPUTarget.cpp">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif // CHORUS_CONVERSION_PASSES
