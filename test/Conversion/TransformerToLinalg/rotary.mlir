// RUN: chorus-opt %s -convert-transformer-to-linalg | FileCheck %s

// The position is the index along seq.
// CHECK-LABEL: func @without_positions(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x?x128xf32>
//       CHECK:   %[[TABLE:.*]] = transformer.rotary_table
//       CHECK:   linalg.generic {{.*}} ins(%[[X]]
//       CHECK:     %[[POSITION:.*]] = linalg.index 1
//       CHECK:     tensor.extract %[[X]]
//       CHECK:     %[[COS:.*]] = tensor.extract %[[TABLE]][%[[POSITION]],
//       CHECK:     tensor.extract %[[TABLE]][%[[POSITION]],
//       CHECK:     math.fma %{{.*}}, %[[COS]],
func.func @without_positions(%x: tensor<?x?x128xf32>) -> tensor<?x?x128xf32> {
  %t = transformer.rotary_table theta = 1.0e+04 : tensor<512x32x2xf32>
  %y = transformer.rotary halves %x, %t head_dim = 64 : tensor<?x?x128xf32>, tensor<512x32x2xf32>
  return %y : tensor<?x?x128xf32>
}

// CHECK-LABEL: func @at_positions(
//  CHECK-SAME:   %[[P:arg1]]: tensor<?xi32>
//       CHECK:   linalg.generic
//       CHECK:     %[[ROW:.*]] = linalg.index 0
//       CHECK:     %[[NUMBER:.*]] = tensor.extract %[[P]][%[[ROW]]]
//       CHECK:     %[[POSITION:.*]] = arith.index_cast %[[NUMBER]]
//       CHECK:     tensor.extract %{{.*}}[%[[POSITION]],
func.func @at_positions(%x: tensor<?x128xf32>, %p: tensor<?xi32>) -> tensor<?x128xf32> {
  %t = transformer.rotary_table theta = 1.0e+04 : tensor<512x32x2xf32>
  %y = transformer.rotary adjacent %x, %t at %p : tensor<?xi32> head_dim = 64 : tensor<?x128xf32>, tensor<512x32x2xf32>
  return %y : tensor<?x128xf32>
}
