// RUN: chorus-opt %s -convert-transformer-to-kernels | FileCheck %s

// Token-wise ops that follow each other run row by row in one dispatch; another
// number of rows starts the next one.
//   CHECK-LABEL: llvm.func @chorus_entry_one_group(
// CHECK-COUNT-1:   llvm.mlir.addressof
//     CHECK-NOT:   llvm.mlir.addressof
//         CHECK: llvm.func internal @one_group.0.addf.rms_norm.glu(
//     CHECK-NOT: llvm.func internal @one_group.1
func.func @one_group(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %s = arith.addf %x, %y : tensor<?x64xf32>
  %n = transformer.rms_norm %s, %w epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %g = transformer.glu silu %n, %s : tensor<?x64xf32>
  return %g : tensor<?x64xf32>
}

//   CHECK-LABEL: llvm.func @chorus_entry_two_groups(
//         CHECK:   llvm.mlir.addressof @two_groups.0.glu
//         CHECK:   llvm.mlir.addressof @two_groups.1.select_rows
//     CHECK-NOT:   llvm.mlir.addressof
//         CHECK: llvm.func internal @two_groups.0.glu(
func.func @two_groups(%x: tensor<?x64xf32>, %rows: tensor<?xi32>) -> tensor<?x64xf32> {
  %g = transformer.glu silu %x, %x : tensor<?x64xf32>
  %s = transformer.select_rows %g, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}
