// RUN: chorus-opt %s -convert-transformer-to-kernels | FileCheck %s

// Layers are a loop in the host program: its dispatches are emitted once. Keys
// and values are appended in the dispatch of rows before attention. The loop
// works in place on a copy of the argument.
// CHECK-LABEL: llvm.func @chorus_entry_step(
//       CHECK:   llvm.mlir.addressof @step.0.copy
//       CHECK:   scf.for
//       CHECK:     llvm.mlir.addressof @step.1.rms_norm
//       CHECK:     llvm.mlir.addressof @step.2.linear
//       CHECK:     llvm.mlir.addressof @step.3.round_to_cache.append
//       CHECK:     llvm.mlir.addressof @step.{{[0-9]+}}.attention :
//       CHECK:   llvm.return
//       CHECK: llvm.func internal @step.1.rms_norm(
//   CHECK-NOT: llvm.func internal @step.{{[4-9]}}.{{rms_norm|linear|copy}}
func.func @step(%x0: tensor<?x64xf32>, %positions: tensor<?xi32>,
                %cache: !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>) -> tensor<?x64xf32>
    attributes {transformer.step} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %y = scf.for %l = %c0 to %c2 step %c1 iter_args(%x = %x0) -> (tensor<?x64xf32>) {
    %n = transformer.parameter "m.gguf" ["0.n", "1.n"] [%l] : tensor<64xf32>
    %w = transformer.parameter "m.gguf" ["0.w", "1.w"] [%l] : tensor<64x64xf16>
    %h = transformer.rms_norm %x, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
    %q = transformer.linear %h, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
    %k = transformer.round_to_cache %q to f16 : tensor<?x64xf32>
    %o = transformer.attention causal %q, %k, %k cache %cache[%l] at %positions : !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>, tensor<?xi32> heads = 1 kv_heads = 1 scale = 1.25e-01 : tensor<?x64xf32>, tensor<?x64xf32>
    scf.yield %o : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}
