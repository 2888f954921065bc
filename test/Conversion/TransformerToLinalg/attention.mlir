// RUN: chorus-opt %s -convert-transformer-to-linalg -split-input-file | FileCheck %s

// CHECK-DAG: #[[KV_HEAD:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1 floordiv 3, d3, d4)>
// CHECK-LABEL: func @causal(
//  CHECK-SAME:   %[[Q:.*]]: tensor<?x?x576xf32>, %[[K:.*]]: tensor<?x?x192xf32>, %[[V:.*]]: tensor<?x?x192xf32>
// The scale is applied to the query, once.
//       CHECK:   %[[SPLIT:.*]] = linalg.generic {{.*}} ins(%[[Q]]
//       CHECK:     arith.mulf
//       CHECK:   %[[KEY:.*]] = linalg.generic {{.*}} ins(%[[K]]
//       CHECK:   linalg.generic {{.*}} ins(%[[V]]
//       CHECK:   %[[SCORES:.*]] = linalg.generic {{.*}}#[[KV_HEAD]]{{.*}} ins(%[[SPLIT]], %[[KEY]]
// Positions after the row's own are hidden.
//       CHECK:   linalg.generic {{.*}}"reduction"]{{.*}} ins(%[[SCORES]]
//       CHECK:     %[[ROW:.*]] = linalg.index 2
//       CHECK:     %[[POSITION:.*]] = linalg.index 3
//       CHECK:     arith.cmpi slt, %[[ROW]], %[[POSITION]]
//       CHECK:     arith.maximumf
//       CHECK:   linalg.generic {{.*}} ins(%[[SCORES]]
//       CHECK:     math.exp
//       CHECK:     arith.select
//       CHECK:     arith.divf
func.func @causal(%q: tensor<?x?x576xf32>, %k: tensor<?x?x192xf32>, %v: tensor<?x?x192xf32>) -> tensor<?x?x576xf32> {
  %o = transformer.attention causal %q, %k, %v heads = 9 kv_heads = 3 scale = 1.25e-01 : tensor<?x?x576xf32>, tensor<?x?x192xf32>
  return %o : tensor<?x?x576xf32>
}

// -----

// CHECK-LABEL: func @full(
//   CHECK-NOT:   arith.cmpi
//       CHECK:   return
func.func @full(%q: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %o = transformer.attention full %q, %q, %q heads = 2 kv_heads = 2 scale = 1.25e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %o : tensor<?x?x64xf32>
}
