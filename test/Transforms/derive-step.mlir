// RUN: chorus-opt %s -split-input-file -chorus-derive-step | FileCheck %s
// RUN: chorus-opt %s -split-input-file -chorus-derive-step=cache-type=f32 | FileCheck %s --check-prefix=F32

// F32-LABEL: func @step
// F32-SAME:    !transformer.state<paged_kv, f32, layers = 2, kv_heads = 2, head_dim = 16>

// CHECK-NOT:   @main
// CHECK-LABEL: func @step(
// CHECK-SAME:    %[[TOKENS:[^:]*]]: tensor<?xi32> {transformer.name = "tokens"},
// CHECK-SAME:    %[[POSITIONS:[^:]*]]: tensor<?xi32> {transformer.name = "positions"},
// CHECK-SAME:    %[[ROWS:[^:]*]]: tensor<?xi32> {transformer.name = "output_rows"},
// CHECK-SAME:    %[[CACHE:[^:]*]]: !transformer.state<paged_kv, f16, layers = 2, kv_heads = 2, head_dim = 16> {transformer.name = "cache"})
// CHECK-SAME:    -> (tensor<?x512xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"})
// CHECK-SAME:    attributes {model.source = "hand-written", transformer.step}
//      CHECK:    %[[TABLE:.*]] = transformer.rotary_table
//      CHECK:    %[[X:.*]] = transformer.embedding %[[TOKENS]], %{{.*}} : tensor<?xi32>, tensor<512x64xf16> -> tensor<?x64xf32>
//      CHECK:    %[[Q:.*]] = transformer.rotary adjacent %[[X]], %[[TABLE]] at %[[POSITIONS]]
//      CHECK:    %[[T:.*]] = tensor.dim %[[X]], %{{.*}} : tensor<?x64xf32>
//      CHECK:    %[[K:.*]] = tensor.extract_slice %[[X]][0, 32] [%[[T]], 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
//      CHECK:    %[[L0:.*]] = arith.constant 0 : index
//      CHECK:    %[[A:.*]] = transformer.attention causal %[[Q]], %[[K]], %[[K]] cache %[[CACHE]][%[[L0]]] at %[[POSITIONS]]
// CHECK-SAME:      heads = 4 kv_heads = 2 scale = 2.500000e-01
//      CHECK:    %[[L1:.*]] = arith.constant 1 : index
//      CHECK:    %[[B:.*]] = transformer.attention causal %[[A]], %[[K]], %[[K]] cache %[[CACHE]][%[[L1]]] at %[[POSITIONS]]
// CHECK-SAME:      heads = 4 kv_heads = 2 scale = 1.000000e+00
//      CHECK:    %[[Y:.*]] = arith.addf %[[B]], %[[X]] : tensor<?x64xf32>
//      CHECK:    %[[H:.*]] = transformer.rms_norm %[[Y]]
//      CHECK:    %[[ALL:.*]] = transformer.linear %[[H]]
//      CHECK:    %[[LOGITS:.*]] = transformer.select_rows %[[ALL]], %[[ROWS]]
//      CHECK:    %[[SUM:.*]] = transformer.log_sum_exp %[[LOGITS]]
//      CHECK:    return %[[LOGITS]], %[[SUM]]
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x512xf32> {transformer.name = "logits"}) attributes {model.source = "hand-written"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %e = transformer.parameter "m.gguf" ["e"] : tensor<512x64xf16>
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<512x64xf16> -> tensor<?x?x64xf32>
  %q = transformer.rotary adjacent %x, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<128x8x2xf32>
  %batch = tensor.dim %x, %c0 : tensor<?x?x64xf32>
  %seq = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  %k = tensor.extract_slice %x[0, 0, 32] [%batch, %seq, 32] [1, 1, 1] : tensor<?x?x64xf32> to tensor<?x?x32xf32>
  %a = transformer.attention causal %q, %k, %k heads = 4 kv_heads = 2 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x32xf32>
  %b = transformer.attention causal %a, %k, %k heads = 4 kv_heads = 2 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x32xf32>
  %y = arith.addf %b, %x : tensor<?x?x64xf32>
  %h = transformer.rms_norm %y, %n epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  %l = transformer.linear %h, %e : (tensor<?x?x64xf32>, tensor<512x64xf16>) -> tensor<?x?x512xf32>
  return %l : tensor<?x?x512xf32>
}

// -----

// Elementwise ops on rows and on parameters, and rows that are rounded already.
// CHECK-LABEL: func @step
//       CHECK:   %[[N:.*]] = arith.addf %{{.*}} : tensor<64xf32>
//       CHECK:   %[[X:.*]] = transformer.embedding
//       CHECK:   %[[H:.*]] = transformer.rms_norm %[[X]], %[[N]] epsilon = {{.*}} : tensor<?x64xf32>, tensor<64xf32>
//       CHECK:   %[[A:.*]] = transformer.attention causal %[[H]]
//       CHECK:   %[[Z:.*]] = math.tanh %[[A]] : tensor<?x64xf32>
//       CHECK:   %[[Q:.*]] = transformer.quantize_activations %[[Z]] : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
//       CHECK:   transformer.linear %[[Q]], %{{.*}} -> tensor<?x512xf32>
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x512xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<512x64x!transformer.q8_0>
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %n2 = arith.addf %n, %n : tensor<64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<512x64x!transformer.q8_0> -> tensor<?x?x64xf32>
  %h = transformer.rms_norm %x, %n2 epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  %a = transformer.attention causal %h, %h, %h heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  %z = math.tanh %a : tensor<?x?x64xf32>
  %q = transformer.quantize_activations %z : tensor<?x?x64xf32> -> tensor<?x?x64x!transformer.act_q8>
  %l = transformer.linear %q, %e : (tensor<?x?x64x!transformer.act_q8>, tensor<512x64x!transformer.q8_0>) -> tensor<?x?x512xf32>
  return %l : tensor<?x?x512xf32>
}

// -----

// Other signatures are plain entries, and other functions are left alone.
// CHECK-LABEL: func @main
//  CHECK-SAME:   %{{.*}}: tensor<?x64xf32>
//       CHECK: func @other
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = math.tanh %x : tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
func.func @other(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  return %x : tensor<?x64xf32>
}

// -----

// With a value head: rows of both results are selected.
// CHECK-LABEL: func @step(
// CHECK-SAME:    %[[ROWS:[^:]*]]: tensor<?xi32> {transformer.name = "output_rows"}
// CHECK-SAME:    -> (tensor<?x512xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}, tensor<?x1xf32> {transformer.name = "value"})
//      CHECK:    %[[ALL:.*]] = transformer.linear {{.*}} -> tensor<?x512xf32>
//      CHECK:    %[[VALUES:.*]] = transformer.linear {{.*}} -> tensor<?x1xf32>
//      CHECK:    %[[LOGITS:.*]] = transformer.select_rows %[[ALL]], %[[ROWS]]
//      CHECK:    %[[VALUE:.*]] = transformer.select_rows %[[VALUES]], %[[ROWS]]
//      CHECK:    %[[SUM:.*]] = transformer.log_sum_exp %[[LOGITS]]
//      CHECK:    return %[[LOGITS]], %[[SUM]], %[[VALUE]]
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x512xf32> {transformer.name = "logits"}, tensor<?x?x1xf32> {transformer.name = "value"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<512x64xf16>
  %w = transformer.parameter "value head" ["weight"] : tensor<1x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<512x64xf16> -> tensor<?x?x64xf32>
  %a = transformer.attention causal %x, %x, %x heads = 4 kv_heads = 4 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  %l = transformer.linear %a, %e : (tensor<?x?x64xf32>, tensor<512x64xf16>) -> tensor<?x?x512xf32>
  %v = transformer.linear %a, %w : (tensor<?x?x64xf32>, tensor<1x64xf32>) -> tensor<?x?x1xf32>
  return %l, %v : tensor<?x?x512xf32>, tensor<?x?x1xf32>
}

// -----

// A second result of another name makes a plain entry.
// CHECK-LABEL: func @main(
//   CHECK-NOT:   @step
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x512xf32> {transformer.name = "logits"}, tensor<?x?x1xf32> {transformer.name = "score"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<512x64xf16>
  %w = transformer.parameter "m.gguf" ["w"] : tensor<1x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<512x64xf16> -> tensor<?x?x64xf32>
  %l = transformer.linear %x, %e : (tensor<?x?x64xf32>, tensor<512x64xf16>) -> tensor<?x?x512xf32>
  %v = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<1x64xf32>) -> tensor<?x?x1xf32>
  return %l, %v : tensor<?x?x512xf32>, tensor<?x?x1xf32>
}
