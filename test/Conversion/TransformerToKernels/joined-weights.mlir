// Weights of one product are one dispatch, also where a panel is no multiple of
// 64 bytes (16 rows of one block of q8_0 have 544), in a loop over layers too.
// RUN: chorus-opt %s -convert-transformer-to-kernels=target=x86-64-v4 | FileCheck %s

// CHECK-LABEL: llvm.func @chorus_entry_joined(
//       CHECK:   llvm.mlir.addressof @joined.0.quantize_activations
//       CHECK:   llvm.mlir.addressof @joined.1.linear
//   CHECK-NOT:   llvm.mlir.addressof @joined.2
//       CHECK:   llvm.return
func.func @joined(%x: tensor<?x32xf32>) -> tensor<?x96xf32> {
  %q = transformer.parameter "m.gguf" ["q"] : tensor<48x32x!transformer.q8_0>
  %k = transformer.parameter "m.gguf" ["k"] : tensor<16x32x!transformer.q8_0>
  %v = transformer.parameter "m.gguf" ["v"] : tensor<32x32x!transformer.q8_0>
  %r = transformer.quantize_activations %x : tensor<?x32xf32> -> tensor<?x32x!transformer.act_q8>
  %y = transformer.linear %r, %q, %k, %v : (tensor<?x32x!transformer.act_q8>, tensor<48x32x!transformer.q8_0>, tensor<16x32x!transformer.q8_0>, tensor<32x32x!transformer.q8_0>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// CHECK-LABEL: llvm.func @chorus_entry_layers(
//       CHECK:   llvm.mlir.addressof @layers.{{[0-9]+}}.linear
//   CHECK-NOT:   llvm.mlir.addressof @layers.{{[0-9]+}}.linear
//       CHECK:   llvm.return
func.func @layers(%x: tensor<?x5xf32>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %n = tensor.dim %x, %c0 : tensor<?x5xf32>
  %empty = tensor.empty(%n) : tensor<?x32xf32>
  %zero = arith.constant 0.0 : f32
  %first = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x32xf32>) -> tensor<?x32xf32>
  %y = scf.for %l = %c0 to %c2 step %c1 iter_args(%z = %first) -> (tensor<?x32xf32>) {
    %a = transformer.parameter "m.gguf" ["a0", "a1"][%l] : tensor<16x5xf16>
    %b = transformer.parameter "m.gguf" ["b0", "b1"][%l] : tensor<16x5xf16>
    %s = transformer.linear %x, %a, %b plus %z : (tensor<?x5xf32>, tensor<16x5xf16>, tensor<16x5xf16>, tensor<?x32xf32>) -> tensor<?x32xf32>
    scf.yield %s : tensor<?x32xf32>
  }
  return %y : tensor<?x32xf32>
}
