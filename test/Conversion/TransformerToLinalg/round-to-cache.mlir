// RUN: chorus-opt %s -convert-transformer-to-linalg | FileCheck %s

// CHECK-LABEL: func @to_f16(
//       CHECK:   linalg.generic
//   CHECK-DAG:     arith.constant 6.550400e+04 : f32
//   CHECK-DAG:     arith.constant -6.550400e+04 : f32
//       CHECK:     %[[HALF:.*]] = arith.truncf %{{.*}} : f32 to f16
//       CHECK:     arith.extf %[[HALF]] : f16 to f32
func.func @to_f16(%x: tensor<?x192xf32>) -> tensor<?x192xf32> {
  %y = transformer.round_to_cache %x to f16 : tensor<?x192xf32>
  return %y : tensor<?x192xf32>
}

// CHECK-LABEL: func @to_f32(
//  CHECK-SAME:   %[[X:.*]]: tensor
//  CHECK-NEXT:   return %[[X]]
func.func @to_f32(%x: tensor<?x192xf32>) -> tensor<?x192xf32> {
  %y = transformer.round_to_cache %x to f32 : tensor<?x192xf32>
  return %y : tensor<?x192xf32>
}
