// RUN: chorus-opt %s -convert-transformer-to-linalg | FileCheck %s

// CHECK-LABEL: func @rows(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x?x64xf32>, %[[W:.*]]: tensor<64xf32>
//       CHECK:   %[[SQUARES:.*]] = linalg.generic {{.*}} ["parallel", "parallel", "reduction"]{{.*}} ins(%[[X]]
//       CHECK:     math.fma %[[A:.*]], %[[A]],
//       CHECK:   %[[SCALES:.*]] = linalg.generic {{.*}} ins(%[[SQUARES]]
//   CHECK-DAG:     arith.constant 6.400000e+01 : f32
//   CHECK-DAG:     arith.constant 9.99999974E-6 : f32
//       CHECK:     math.sqrt
//       CHECK:   linalg.generic {{.*}} ins(%[[X]], %[[SCALES]], %[[W]]
func.func @rows(%x: tensor<?x?x64xf32>, %w: tensor<64xf32>) -> tensor<?x?x64xf32> {
  %y = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  return %y : tensor<?x?x64xf32>
}
