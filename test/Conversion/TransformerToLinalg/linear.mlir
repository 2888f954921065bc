// RUN: chorus-opt %s -convert-transformer-to-linalg -split-input-file | FileCheck %s

// One chain of fused multiply-adds in ascending k, from zero.
// CHECK-LABEL: func @float_weights(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x64xf32>
//       CHECK:   %[[W:.*]] = transformer.parameter "m.gguf" ["w"] : tensor<96x64xf32>
//       CHECK:   %[[ZERO:.*]] = linalg.fill ins(%{{.*}} : f32) outs(%{{.*}} : tensor<?x96xf32>)
//       CHECK:   linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]
//  CHECK-SAME:     ins(%[[X]], %[[W]] : tensor<?x64xf32>, tensor<96x64xf32>) outs(%[[ZERO]]
//  CHECK-NEXT:   ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32, %[[SUM:.*]]: f32)
//       CHECK:     math.fma %[[B]], %[[A]], %[[SUM]]
func.func @float_weights(%x: tensor<?x64xf32>) -> tensor<?x96xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64xf32>
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

// CHECK-LABEL: func @half_weights(
//       CHECK:   arith.extf %{{.*}} : bf16 to f32
//       CHECK:   math.fma
func.func @half_weights(%x: tensor<?x64xf32>, %w: tensor<96x64xbf16>) -> tensor<?x96xf32> {
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xbf16>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

// Blocks are read as the bytes of the file: 20 for each 32 weights.
// CHECK-LABEL: func @block_weights(
//   CHECK-NOT:   !transformer.q4_1
//       CHECK:   %[[BYTES:.*]] = transformer.parameter "m.gguf" ["w"] : tensor<96x2x20xi8>
//       CHECK:   linalg.generic
//       CHECK:     tensor.extract %[[BYTES]]
//       CHECK:     %[[WEIGHT:.*]] = math.fma %{{.*}} : f32
//       CHECK:     math.fma %[[WEIGHT]]
func.func @block_weights(%x: tensor<?x64xf32>) -> tensor<?x96xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64x!transformer.q4_1>
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64x!transformer.q4_1>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

// The integers of a block are summed exactly, then scaled by d, then by the
// activations' scale.
// CHECK-LABEL: func @rounded_activations(
//   CHECK-NOT:   transformer.linear
//       CHECK:   linalg.generic
//       CHECK:   linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]
//  CHECK-SAME:     ins(%{{.*}}, %{{.*}} : tensor<?x2xf32>, tensor<?x2xf32>)
//  CHECK-NEXT:   ^bb0(%[[SCALE:.*]]: f32, %{{.*}}: f32, %[[ACC:.*]]: f32)
//       CHECK:     %[[SUM:.*]] = scf.for {{.*}} -> (i32)
//       CHECK:       arith.muli %{{.*}} : i32
//       CHECK:       arith.addi %{{.*}} : i32
//       CHECK:     %[[I:.*]] = arith.sitofp %[[SUM]] : i32 to f32
//       CHECK:     %[[T:.*]] = arith.mulf %[[I]], %{{.*}} : f32
//       CHECK:     %[[NEXT:.*]] = math.fma %[[T]], %[[SCALE]], %[[ACC]] : f32
//       CHECK:     linalg.yield %[[NEXT]]
func.func @rounded_activations(%x: tensor<?x64xf32>) -> tensor<?x96xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64x!transformer.q8_0>
  %q = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  %y = transformer.linear %q, %w : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q8_0>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

// The minimum of a block counts once, with the scaled sum of the activations.
// CHECK-LABEL: func @rounded_activations_with_minimum(
//       CHECK:   ^bb0(%[[SCALE:.*]]: f32, %[[SCALED_SUM:.*]]: f32, %[[ACC:.*]]: f32)
//       CHECK:     scf.for
//       CHECK:     %[[NEXT:.*]] = math.fma %{{.*}}, %[[SCALE]], %[[ACC]] : f32
//       CHECK:     %[[LAST:.*]] = math.fma %{{.*}}, %[[SCALED_SUM]], %[[NEXT]] : f32
//       CHECK:     linalg.yield %[[LAST]]
func.func @rounded_activations_with_minimum(%x: tensor<?x64xf32>) -> tensor<?x96xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64x!transformer.q4_1>
  %q = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  %y = transformer.linear %q, %w : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q4_1>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

// Side by side; the residual comes last.
// CHECK-LABEL: func @joined_weights_and_residual(
//  CHECK-SAME:   %[[R:arg3]]: tensor<?x112xf32>
//       CHECK:   %[[A:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x96xf32>)
//       CHECK:   %[[B:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x16xf32>)
//       CHECK:   %[[JOINED:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x112xf32>)
//   CHECK-DAG:     tensor.extract %[[A]]
//   CHECK-DAG:     tensor.extract %[[B]]
//       CHECK:   linalg.generic {{.*}} ins(%[[JOINED]], %[[R]]
//       CHECK:     arith.addf
func.func @joined_weights_and_residual(%x: tensor<?x64xf32>, %a: tensor<96x64xf32>, %b: tensor<16x64xf32>, %r: tensor<?x112xf32>) -> tensor<?x112xf32> {
  %y = transformer.linear %x, %a, %b plus %r : (tensor<?x64xf32>, tensor<96x64xf32>, tensor<16x64xf32>, tensor<?x112xf32>) -> tensor<?x112xf32>
  return %y : tensor<?x112xf32>
}
