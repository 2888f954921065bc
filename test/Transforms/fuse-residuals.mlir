// RUN: chorus-opt %s -chorus-fuse-residuals | FileCheck %s
// RUN: chorus-opt %s -chorus-fuse-residuals -remark-format=emitRemark -remarks-filter-missed=chorus-fuse-residuals -verify-diagnostics -o /dev/null

// CHECK-LABEL: func @either_side
//  CHECK-SAME:   %[[X:[^:]*]]: tensor<?x64xf32>, %[[R:[^:]*]]: tensor<?x64xf32>
//       CHECK:   %[[A:.*]] = transformer.linear %[[X]], %{{.*}} plus %[[R]]
//       CHECK:   %[[B:.*]] = transformer.linear %[[A]], %{{.*}} plus %[[A]]
//   CHECK-NOT:   arith.addf
//       CHECK:   return %[[B]]
func.func @either_side(%x: tensor<?x64xf32>, %r: tensor<?x64xf32>) -> tensor<?x64xf32> attributes {transformer.step} {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf16>
  %p = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %a = arith.addf %p, %r : tensor<?x64xf32>
  %q = transformer.linear %a, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %b = arith.addf %a, %q : tensor<?x64xf32>
  return %b : tensor<?x64xf32>
}

// The residual is computed below the product, so the product moves down to it.
// CHECK-LABEL: func @late_residual
//       CHECK:   %[[R:.*]] = math.tanh
//       CHECK:   transformer.linear %{{.*}} plus %[[R]]
func.func @late_residual(%x: tensor<?x64xf32>) -> tensor<?x64xf32> attributes {transformer.step} {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf16>
  %p = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %r = math.tanh %x : tensor<?x64xf32>
  %a = arith.addf %p, %r : tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}

// Blocks in parallel: both products add to the sum so far, one after the other.
// CHECK-LABEL: func @parallel_blocks
//  CHECK-SAME:   %[[X:.*]]: tensor<?x64xf32>
//       CHECK:   %[[A:.*]] = transformer.linear %[[X]], %{{.*}} plus %[[X]]
//       CHECK:   transformer.linear %[[X]], %{{.*}} plus %[[A]]
//   CHECK-NOT:   arith.addf
func.func @parallel_blocks(%x: tensor<?x64xf32>) -> tensor<?x64xf32> attributes {transformer.step} {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf16>
  %v = transformer.parameter "m.gguf" ["v"] : tensor<64x64xf16>
  %p = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %q = transformer.linear %x, %v : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %a = arith.addf %x, %p : tensor<?x64xf32>
  %b = arith.addf %a, %q : tensor<?x64xf32>
  return %b : tensor<?x64xf32>
}

// CHECK-LABEL: func @declined
// CHECK-COUNT-2: arith.addf
func.func @declined(%x: tensor<?x64xf32>, %r: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>) attributes {transformer.step} {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf16>
  // expected-remark @below {{residual not added in the product: the product has other uses}}
  %p = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %a = arith.addf %p, %r : tensor<?x64xf32>
  // expected-remark @below {{residual not added in the product: it has one already}}
  %q = transformer.linear %x, %w plus %r : (tensor<?x64xf32>, tensor<64x64xf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %b = arith.addf %q, %r : tensor<?x64xf32>
  return %p, %a, %b : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>
}

// The product of one iteration is not repeated in each of another loop.
// CHECK-LABEL: func @other_block
//       CHECK:   transformer.linear %{{.*}}, %{{[^,]*}} :
//       CHECK:   scf.for
//       CHECK:     arith.addf
func.func @other_block(%x: tensor<?x64xf32>, %n: index) -> tensor<?x64xf32> attributes {transformer.step} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf16>
  // expected-remark @below {{residual not added in the product: the addition is in another block}}
  %p = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%r = %x) -> (tensor<?x64xf32>) {
    %a = arith.addf %p, %r : tensor<?x64xf32>
    scf.yield %a : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func @plain_entry
//       CHECK:   arith.addf
func.func @plain_entry(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf16>
  %p = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %a = arith.addf %p, %x : tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}
