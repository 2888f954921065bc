// RUN: chorus-opt %s -convert-transformer-to-linalg -split-input-file | FileCheck %s

// Values, scales and scaled sums, once for all products that read them.
// CHECK-DAG: #[[BLOCK:.*]] = affine_map<(d0, d1, d2) -> (d0, d1, d2 floordiv 32)>
// CHECK-LABEL: func @shared_by_two_products(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x?x64xf32>
//       CHECK:   %[[LARGEST:.*]] = linalg.generic {{.*}}#[[BLOCK]]{{.*}}"reduction"]{{.*}} ins(%[[X]]
//       CHECK:     arith.bitcast %{{.*}} : f32 to i32
//       CHECK:     arith.maxsi
//       CHECK:   %[[SCALES:.*]] = linalg.generic {{.*}} ins(%[[LARGEST]]
//       CHECK:     arith.divf
//       CHECK:   %[[VALUES:.*]] = linalg.generic {{.*}} ins(%[[X]], %[[SCALES]]
//       CHECK:     math.roundeven
//       CHECK:     arith.fptosi %{{.*}} : f32 to i32
//       CHECK:   %[[SUMS:.*]] = linalg.generic {{.*}} ins(%[[VALUES]]
//       CHECK:   %[[SCALED:.*]] = linalg.generic {{.*}} ins(%[[SUMS]], %[[SCALES]]
//   CHECK-NOT:   math.roundeven
//       CHECK:   linalg.generic {{.*}} ins(%[[SCALES]], %[[SCALED]]
//       CHECK:     tensor.extract %[[VALUES]]
//       CHECK:   linalg.generic {{.*}} ins(%[[SCALES]], %[[SCALED]]
//       CHECK:     tensor.extract %[[VALUES]]
func.func @shared_by_two_products(%x: tensor<?x?x64xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x32xf32>) {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<16x64x!transformer.q4_0>
  %b = transformer.parameter "m.gguf" ["b"] : tensor<32x64x!transformer.q4_0>
  %q = transformer.quantize_activations %x : tensor<?x?x64xf32> -> tensor<?x?x64x!transformer.act_q8>
  %y = transformer.linear %q, %a : (tensor<?x?x64x!transformer.act_q8>, tensor<16x64x!transformer.q4_0>) -> tensor<?x?x16xf32>
  %z = transformer.linear %q, %b : (tensor<?x?x64x!transformer.act_q8>, tensor<32x64x!transformer.q4_0>) -> tensor<?x?x32xf32>
  return %y, %z : tensor<?x?x16xf32>, tensor<?x?x32xf32>
}

// -----

// Two terms: 256 times as fine, and the scale so much smaller.
// CHECK-LABEL: func @two_terms(
//       CHECK:     arith.maxsi
//       CHECK:   %[[SCALES:.*]] = linalg.generic
//       CHECK:     arith.divf
//       CHECK:   %[[VALUES:.*]] = linalg.generic {{.*}}, %[[SCALES]]
//  CHECK-COUNT-2:     math.roundeven
//       CHECK:   %[[FINE:.*]] = linalg.generic {{.*}} ins(%[[SCALES]]
//       CHECK:     arith.mulf %{{.*}}, %cst
//       CHECK:   linalg.generic {{.*}} ins(%[[FINE]]
func.func @two_terms(%x: tensor<?x64xf32>) -> tensor<?x16xf32> {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<16x64x!transformer.q4_0>
  %q = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8<2>>
  %y = transformer.linear %q, %a : (tensor<?x64x!transformer.act_q8<2>>, tensor<16x64x!transformer.q4_0>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
