// RUN: chorus-opt %s -convert-transformer-to-linalg | FileCheck %s

// The row's maximum is taken off first.
// CHECK-LABEL: func @rows(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x1000xf32>
//       CHECK:   %[[MAX:.*]] = linalg.generic {{.*}}"reduction"]{{.*}} ins(%[[X]]
//       CHECK:     arith.maximumf
//       CHECK:   %[[SUM:.*]] = linalg.generic {{.*}}"reduction"]{{.*}} ins(%[[X]], %[[MAX]]
//       CHECK:     arith.subf
//       CHECK:     math.exp
//       CHECK:   linalg.generic {{.*}} ins(%[[SUM]], %[[MAX]]
//       CHECK:     math.log
//       CHECK:     arith.addf
func.func @rows(%x: tensor<?x1000xf32>) -> tensor<?xf32> {
  %y = transformer.log_sum_exp %x : tensor<?x1000xf32> -> tensor<?xf32>
  return %y : tensor<?xf32>
}
