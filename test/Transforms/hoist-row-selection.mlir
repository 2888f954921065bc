// RUN: chorus-opt %s -chorus-hoist-row-selection | FileCheck %s

// Rows rounded to int8 cannot be selected, so the selection goes above the
// rounding; the addition reads two values with rows and stays below.
// CHECK-LABEL: func @above_norm_and_product
//  CHECK-SAME:   %[[X:[^:]*]]: tensor<?x64xf32>, %[[Y:[^:]*]]: tensor<?x64xf32>, %[[ROWS:[^:]*]]: tensor<?xi32>
//       CHECK:   %[[A:.*]] = arith.addf %[[X]], %[[Y]]
//       CHECK:   %[[S:.*]] = transformer.select_rows %[[A]], %[[ROWS]]
//       CHECK:   %[[H:.*]] = transformer.rms_norm %[[S]]
//       CHECK:   %[[Q:.*]] = transformer.quantize_activations %[[H]]
//       CHECK:   %[[L:.*]] = transformer.linear %[[Q]]
//       CHECK:   %[[SQUARE:.*]] = arith.mulf %[[L]], %[[L]]
//   CHECK-NOT:   select_rows
//       CHECK:   return %[[SQUARE]]
func.func @above_norm_and_product(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>, %rows: tensor<?xi32>) -> tensor<?x96xf32> attributes {transformer.step} {
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64x!transformer.q8_0>
  %a = arith.addf %x, %y : tensor<?x64xf32>
  %h = transformer.rms_norm %a, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %q = transformer.quantize_activations %h : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  %l = transformer.linear %q, %w : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q8_0>) -> tensor<?x96xf32>
  %square = arith.mulf %l, %l : tensor<?x96xf32>
  %s = transformer.select_rows %square, %rows : tensor<?x96xf32>, tensor<?xi32> -> tensor<?x96xf32>
  return %s : tensor<?x96xf32>
}

// The norm has a reader that needs all rows.
// CHECK-LABEL: func @norm_is_read_elsewhere
//       CHECK:   %[[H:.*]] = transformer.rms_norm
//       CHECK:   %[[S:.*]] = transformer.select_rows %[[H]]
//       CHECK:   transformer.linear %[[S]]
func.func @norm_is_read_elsewhere(%x: tensor<?x64xf32>, %rows: tensor<?xi32>) -> (tensor<?x96xf32>, tensor<?x64xf32>) attributes {transformer.step} {
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64xf16>
  %h = transformer.rms_norm %x, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %l = transformer.linear %h, %w : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
  %s = transformer.select_rows %l, %rows : tensor<?x96xf32>, tensor<?xi32> -> tensor<?x96xf32>
  return %s, %h : tensor<?x96xf32>, tensor<?x64xf32>
}

// Only the quantised rows are read twice: nothing above can be selected for one
// of the readers.
// CHECK-LABEL: func @quantised_rows_are_read_elsewhere
//       CHECK:   transformer.rms_norm
//       CHECK:   transformer.quantize_activations
//       CHECK:   transformer.linear
//       CHECK:   transformer.linear
//       CHECK:   transformer.select_rows
func.func @quantised_rows_are_read_elsewhere(%x: tensor<?x64xf32>, %rows: tensor<?xi32>) -> (tensor<?x96xf32>, tensor<?x96xf32>) attributes {transformer.step} {
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64x!transformer.q8_0>
  %v = transformer.parameter "m.gguf" ["v"] : tensor<96x64x!transformer.q8_0>
  %h = transformer.rms_norm %x, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %q = transformer.quantize_activations %h : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  %l = transformer.linear %q, %w : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q8_0>) -> tensor<?x96xf32>
  %m = transformer.linear %q, %v : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q8_0>) -> tensor<?x96xf32>
  %s = transformer.select_rows %l, %rows : tensor<?x96xf32>, tensor<?xi32> -> tensor<?x96xf32>
  return %s, %m : tensor<?x96xf32>, tensor<?x96xf32>
}

// Attention and rotary read more than their row.
// CHECK-LABEL: func @not_token_wise
//       CHECK:   transformer.rotary
//       CHECK:   transformer.select_rows
func.func @not_token_wise(%x: tensor<?x64xf32>, %p: tensor<?xi32>, %rows: tensor<?xi32>) -> tensor<?x64xf32> attributes {transformer.step} {
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %q = transformer.rotary adjacent %x, %table at %p : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
  %s = transformer.select_rows %q, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// Logits and values are products of one hidden state: their selections meet
// there and go above the norm as one.
// CHECK-LABEL: func @value_head
//  CHECK-SAME:   %[[X:[^:]*]]: tensor<?x64xf32>, %[[ROWS:[^:]*]]: tensor<?xi32>
//       CHECK:   %[[S:.*]] = transformer.select_rows %[[X]], %[[ROWS]]
//       CHECK:   %[[H:.*]] = transformer.rms_norm %[[S]]
//       CHECK:   %[[Q:.*]] = transformer.quantize_activations %[[H]]
//       CHECK:   %[[L:.*]] = transformer.linear %[[Q]]
//       CHECK:   %[[V:.*]] = transformer.linear %[[H]]
//   CHECK-NOT:   select_rows
//       CHECK:   return %[[L]], %[[V]]
func.func @value_head(%x: tensor<?x64xf32>, %rows: tensor<?xi32>) -> (tensor<?x96xf32>, tensor<?x1xf32>) attributes {transformer.step} {
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %w = transformer.parameter "m.gguf" ["w"] : tensor<96x64x!transformer.q8_0>
  %v = transformer.parameter "value head" ["weight"] : tensor<1x64xf32>
  %h = transformer.rms_norm %x, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %q = transformer.quantize_activations %h : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  %l = transformer.linear %q, %w : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q8_0>) -> tensor<?x96xf32>
  %value = transformer.linear %h, %v : (tensor<?x64xf32>, tensor<1x64xf32>) -> tensor<?x1xf32>
  %a = transformer.select_rows %l, %rows : tensor<?x96xf32>, tensor<?xi32> -> tensor<?x96xf32>
  %b = transformer.select_rows %value, %rows : tensor<?x1xf32>, tensor<?xi32> -> tensor<?x1xf32>
  return %a, %b : tensor<?x96xf32>, tensor<?x1xf32>
}
