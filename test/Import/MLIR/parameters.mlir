// RUN: rm -rf %t && mkdir -p %t/weights
// RUN: cp %S/../GGUF/Inputs/tied.gguf %t/weights/m.gguf
// RUN: cp %s %t/good.mlir
// RUN: chorus-import %t/good.mlir -o %t/out.mlir && FileCheck %s < %t/out.mlir
// RUN: sed 's/tensor<64x64x!transformer.q4_1>/tensor<64x64xf32>/' %s > %t/type.mlir
// RUN: not chorus-import %t/type.mlir 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: sed 's/attn_q/attn_z/' %s > %t/name.mlir
// RUN: not chorus-import %t/name.mlir 2>&1 | FileCheck %s --check-prefix=NAME

// CHECK: transformer.parameter "weights/m.gguf" ["blk.0.attn_q.weight"]
// TYPE: error G22: weights/m.gguf: tensor 'blk.0.attn_q.weight': found !transformer.q4_1 [64, 64], needed is f32 [64, 64]
// NAME: error G22: weights/m.gguf: tensor 'blk.0.attn_z.weight': is missing
func.func @product(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = transformer.parameter "weights/m.gguf" ["blk.0.attn_q.weight"] : tensor<64x64x!transformer.q4_1>
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
