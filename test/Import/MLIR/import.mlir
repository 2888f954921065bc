// RUN: chorus-import %s | FileCheck %s
// RUN: chorus-import %s | chorus-opt | FileCheck %s

// Functions of one op, as text by hand has them.

// CHECK-LABEL: func @norm
//  CHECK-SAME:   %[[X:.*]]: tensor<?x8xf32> {transformer.name = "x"}
//  CHECK-SAME:   -> (tensor<?x8xf32> {transformer.name = "y"})
//       CHECK:   %[[Y:.*]] = transformer.rms_norm %[[X]]
//       CHECK:   return %[[Y]]
func.func @norm(%x: tensor<?x8xf32> {transformer.name = "x"}, %w: tensor<8xf32>)
    -> (tensor<?x8xf32> {transformer.name = "y"}) {
  %y = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<?x8xf32>, tensor<8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func @scaled
//       CHECK:   linalg.generic
//       CHECK:   arith.mulf
func.func @scaled(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %two = arith.constant 2.0 : f32
  %empty = tensor.empty() : tensor<4x8xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<4x8xf32>) outs(%empty : tensor<4x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.mulf %a, %two : f32
    linalg.yield %m : f32
  } -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// Private functions may be called.
// CHECK-LABEL: func private @inner
func.func private @inner(%x: tensor<8xf32>) -> tensor<8xf32> {
  return %x : tensor<8xf32>
}

// CHECK-LABEL: func @outer
//       CHECK:   call @inner
func.func @outer(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y = call @inner(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}
