// RUN: chorus-opt %s -convert-transformer-to-linalg -split-input-file | FileCheck %s

// CHECK-LABEL: func @plain_table(
//  CHECK-SAME:   %[[T:.*]]: tensor<?x?xi32>, %[[TABLE:.*]]: tensor<512x64xf16>
//       CHECK:   linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel"]{{.*}} ins(%[[T]]
//       CHECK:     %[[ROW:.*]] = arith.index_cast %{{.*}} : i32 to index
//       CHECK:     %[[COLUMN:.*]] = linalg.index 2
//       CHECK:     %[[V:.*]] = tensor.extract %[[TABLE]][%[[ROW]], %[[COLUMN]]]
//       CHECK:     arith.extf %[[V]]
func.func @plain_table(%t: tensor<?x?xi32>, %w: tensor<512x64xf16>) -> tensor<?x?x64xf32> {
  %y = transformer.embedding %t, %w : tensor<?x?xi32>, tensor<512x64xf16> -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

// -----

// d * (q - 8)
// CHECK-LABEL: func @table_in_blocks(
//       CHECK:   %[[BYTES:.*]] = transformer.parameter "m.gguf" ["e"] : tensor<512x2x18xi8>
//       CHECK:   linalg.generic
//   CHECK-DAG:     %[[ZERO_POINT:.*]] = arith.constant 8 : i32
//       CHECK:     arith.subi %{{.*}}, %[[ZERO_POINT]] : i32
//       CHECK:     arith.mulf
func.func @table_in_blocks(%t: tensor<?xi32>) -> tensor<?x64xf32> {
  %w = transformer.parameter "m.gguf" ["e"] : tensor<512x64x!transformer.q4_0>
  %y = transformer.embedding %t, %w : tensor<?xi32>, tensor<512x64x!transformer.q4_0> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
