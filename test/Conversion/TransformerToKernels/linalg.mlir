// RUN: chorus-opt %s -chorus-decompose-without-kernel -convert-transformer-to-kernels | FileCheck %s

// Linalg ops are loops over views of the planned memory, in the host program.
// CHECK-LABEL: llvm.func @chorus_entry_serial(
//       CHECK:   linalg.fill {{.*}} outs(%{{.*}} : memref<?x16xf32>)
//       CHECK:   linalg.generic {{.*}} outs(%{{.*}} : memref<?x16xf32>)
//       CHECK:   llvm.return
func.func @serial(%x: tensor<?x64xf32>, %w: tensor<16x64xf32>) -> tensor<?x16xf32> {
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<16x64xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
