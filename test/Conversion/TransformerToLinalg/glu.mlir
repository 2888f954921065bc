// RUN: chorus-opt %s -convert-transformer-to-linalg | FileCheck %s

// CHECK-LABEL: func @silu(
//  CHECK-SAME:   %[[GATE:.*]]: tensor<?x96xf32>, %[[UP:.*]]: tensor<?x96xf32>
//       CHECK:   linalg.generic {{.*}} ins(%[[GATE]], %[[UP]]
//  CHECK-NEXT:   ^bb0(%[[G:.*]]: f32, %[[U:.*]]: f32,
//       CHECK:     %[[MINUS:.*]] = arith.negf %[[G]]
//       CHECK:     math.exp %[[MINUS]]
//       CHECK:     %[[S:.*]] = arith.divf %[[G]], %{{.*}}
//       CHECK:     arith.mulf %[[S]], %[[U]]
func.func @silu(%gate: tensor<?x96xf32>, %up: tensor<?x96xf32>) -> tensor<?x96xf32> {
  %y = transformer.glu silu %gate, %up : tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}
