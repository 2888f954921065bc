// RUN: chorus-opt %s -split-input-file -chorus-require-indices | FileCheck %s

// Bounds are constants where the tensor has a fixed size.
// CHECK-LABEL: func @embedding(
//  CHECK-SAME:   %[[TOKENS:.*]]: tensor<?xi32>
//   CHECK-DAG:   %[[VOCAB:.*]] = arith.constant 512 : index
//       CHECK:   transformer.require_indices %[[TOKENS]] below %[[VOCAB]] : tensor<?xi32>
//  CHECK-NEXT:   transformer.embedding
func.func @embedding(%tokens: tensor<?xi32>) -> tensor<?x64xf32> {
  %table = transformer.parameter "m.gguf" ["e"] : tensor<512x64xf16>
  %y = transformer.embedding %tokens, %table : tensor<?xi32>, tensor<512x64xf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func @select(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x64xf32>, %[[ROWS:.*]]: tensor<?xi32>
//       CHECK:   %[[COUNT:.*]] = tensor.dim %[[X]], %{{.*}} : tensor<?x64xf32>
//       CHECK:   transformer.require_indices %[[ROWS]] below %[[COUNT]]
//  CHECK-NEXT:   transformer.select_rows
func.func @select(%x: tensor<?x64xf32>, %rows: tensor<?xi32>) -> tensor<?x64xf32> {
  %y = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func @rotary(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x?x64xf32>, %[[T:.*]]: tensor<?x64xf32>, %[[POSITIONS:.*]]: tensor<?xi32>
//       CHECK:   %[[SEQ:.*]] = tensor.dim %[[X]], %c1
//       CHECK:   transformer.require_size %[[SEQ]] at_most %c128
//  CHECK-NEXT:   transformer.rotary
//       CHECK:   transformer.require_indices %[[POSITIONS]] below %c128{{.*}} : tensor<?xi32>
//  CHECK-NEXT:   transformer.rotary
func.func @rotary(%x: tensor<?x?x64xf32>, %t: tensor<?x64xf32>, %positions: tensor<?xi32>) -> (tensor<?x?x64xf32>, tensor<?x64xf32>) {
  %table = transformer.rotary_table theta = 1.0e+04 : tensor<128x8x2xf32>
  %y = transformer.rotary adjacent %x, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<128x8x2xf32>
  %z = transformer.rotary adjacent %t, %table at %positions : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
  return %y, %z : tensor<?x?x64xf32>, tensor<?x64xf32>
}

// -----

// Indices of a linalg body: a constant, a loop, an element.
// CHECK-LABEL: func @gather(
//  CHECK-SAME:   %[[DATA:.*]]: tensor<4x?x?xf32>, %[[PICK:.*]]: tensor<?xi64>
//   CHECK-DAG:   %[[LOOP:.*]] = tensor.dim %[[PICK]], %{{.*}} : tensor<?xi64>
//   CHECK-DAG:   %[[LONG:.*]] = tensor.dim %[[DATA]], %{{.*}} : tensor<4x?x?xf32>
//       CHECK:   transformer.require_size %[[LOOP]] at_most %[[LONG]]
//       CHECK:   %[[LAST:.*]] = tensor.dim %[[DATA]], %{{.*}} : tensor<4x?x?xf32>
//       CHECK:   transformer.require_indices %[[PICK]] below %[[LAST]] : tensor<?xi64>
//       CHECK:   linalg.generic
func.func @gather(%data: tensor<4x?x?xf32>, %pick: tensor<?xi64>, %out: tensor<?xf32>) -> tensor<?xf32> {
  %three = arith.constant 3 : index
  %r = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%pick : tensor<?xi64>) outs(%out : tensor<?xf32>) {
  ^bb0(%at: i64, %unused: f32):
    %i = linalg.index 0 : index
    %j = arith.index_cast %at : i64 to index
    %e = tensor.extract %data[%three, %i, %j] : tensor<4x?x?xf32>
    linalg.yield %e : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}

// -----

// The runtime makes a step program's arguments.
// CHECK-LABEL: func @step(
//   CHECK-NOT:   require
func.func @step(%x: tensor<?x64xf32>, %rows: tensor<?xi32>) -> tensor<?x64xf32> attributes {transformer.step} {
  %y = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
