// RUN: chorus-opt %s -convert-transformer-to-linalg | FileCheck %s

// What stands between ops of the dialect becomes linalg too.
// CHECK-LABEL: func @residual(
//       CHECK:   linalg.generic
//       CHECK:     arith.addf %{{.*}} : f32
func.func @residual(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %z = arith.addf %x, %y : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}

// CHECK-LABEL: func @splat(
//       CHECK:   %[[C:.*]] = arith.constant 2.000000e+00 : f32
//       CHECK:   linalg.fill ins(%[[C]] : f32)
func.func @splat() -> tensor<4x64xf32> {
  %c = arith.constant dense<2.0> : tensor<4x64xf32>
  return %c : tensor<4x64xf32>
}
