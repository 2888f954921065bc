// RUN: chorus-opt %s -convert-transformer-to-linalg | FileCheck %s

// CHECK-LABEL: func @rows(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x64xf32>, %[[R:.*]]: tensor<?xi32>
//       CHECK:   linalg.generic {{.*}} ins(%[[R]]
//       CHECK:     %[[ROW:.*]] = arith.index_cast
//       CHECK:     tensor.extract %[[X]][%[[ROW]], %{{.*}}]
func.func @rows(%x: tensor<?x64xf32>, %r: tensor<?xi32>) -> tensor<?x64xf32> {
  %y = transformer.select_rows %x, %r : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
