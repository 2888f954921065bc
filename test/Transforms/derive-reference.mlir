// RUN: chorus-opt %s -chorus-derive-reference -split-input-file | FileCheck %s
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-reference)' -split-input-file | FileCheck %s --check-prefix=REFERENCE

// One sequence outside, a batch inside; log_sum_exp of each row.
// CHECK-LABEL: func @main(
//  CHECK-SAME:   %[[TOKENS:.*]]: tensor<1x?xi32> {transformer.name = "tokens"})
//  CHECK-SAME:   -> (tensor<1x?x128xf32> {transformer.name = "logits"}, tensor<1x?xf32> {transformer.name = "log_sum_exp"})
//       CHECK:   %[[BATCH:.*]] = tensor.cast %[[TOKENS]] : tensor<1x?xi32> to tensor<?x?xi32>
//       CHECK:   transformer.embedding %[[BATCH]]
//       CHECK:   %[[LOGITS:.*]] = transformer.linear
//       CHECK:   %[[SUM:.*]] = transformer.log_sum_exp %[[LOGITS]]
//   CHECK-DAG:   %[[L:.*]] = tensor.cast %[[LOGITS]]
//   CHECK-DAG:   %[[S:.*]] = tensor.cast %[[SUM]]
//       CHECK:   return %[[L]], %[[S]]
// REFERENCE-LABEL: func @main(
//   REFERENCE-NOT:   transformer.embedding
//       REFERENCE:   transformer.parameter {{.*}} tensor<128x2x34xi8>
//   REFERENCE-NOT:   transformer.linear
//   REFERENCE-NOT:   transformer.log_sum_exp
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x128xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<128x64x!transformer.q8_0>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<128x64x!transformer.q8_0> -> tensor<?x?x64xf32>
  %l = transformer.linear %x, %e : (tensor<?x?x64xf32>, tensor<128x64x!transformer.q8_0>) -> tensor<?x?x128xf32>
  return %l : tensor<?x?x128xf32>
}

// -----

// CHECK-LABEL: func @main(
//  CHECK-SAME:   tensor<?x64xf32>) -> tensor<?x64xf32>
//   CHECK-NOT:   log_sum_exp
// REFERENCE-LABEL: func @main(
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = transformer.glu silu %x, %x : tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// With a value head.
// CHECK-LABEL: func @main(
//  CHECK-SAME:   -> (tensor<1x?x128xf32> {transformer.name = "logits"}, tensor<1x?xf32> {transformer.name = "log_sum_exp"}, tensor<1x?x1xf32> {transformer.name = "value"})
//       CHECK:   %[[VALUE:.*]] = transformer.linear {{.*}} -> tensor<?x?x1xf32>
//       CHECK:   %[[V:.*]] = tensor.cast %[[VALUE]]
//       CHECK:   return %{{.*}}, %{{.*}}, %[[V]]
// REFERENCE-LABEL: func @main(
//   REFERENCE-NOT:   transformer.linear
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x128xf32> {transformer.name = "logits"}, tensor<?x?x1xf32> {transformer.name = "value"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<128x64xf32>
  %w = transformer.parameter "value head" ["weight"] : tensor<1x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<128x64xf32> -> tensor<?x?x64xf32>
  %l = transformer.linear %x, %e : (tensor<?x?x64xf32>, tensor<128x64xf32>) -> tensor<?x?x128xf32>
  %v = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<1x64xf32>) -> tensor<?x?x1xf32>
  return %l, %v : tensor<?x?x128xf32>, tensor<?x?x1xf32>
}
