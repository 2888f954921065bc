// RUN: chorus-opt %s -chorus-fuse-linears | FileCheck %s
// RUN: chorus-opt %s -chorus-fuse-linears -remark-format=emitRemark -remarks-filter-missed=chorus-fuse-linears -verify-diagnostics -o /dev/null

// CHECK-LABEL: func @qkv
//  CHECK-SAME:   %[[X:.*]]: tensor<?x64xf32>
// Weights that stood below the first product come before the joined one.
//       CHECK:   %[[WQ:.*]] = transformer.parameter "m.gguf" ["q"]
//       CHECK:   %[[WK:.*]] = transformer.parameter "m.gguf" ["k"]
//       CHECK:   %[[WV:.*]] = transformer.parameter "m.gguf" ["v"]
//       CHECK:   %[[QKV:.*]] = transformer.linear %[[X]], %[[WQ]], %[[WK]], %[[WV]]
//  CHECK-SAME:     -> tensor<?x128xf32>
//       CHECK:   %[[T:.*]] = tensor.dim %[[QKV]]
//       CHECK:   %[[Q:.*]] = tensor.extract_slice %[[QKV]][0, 0] [%[[T]], 64] [1, 1]
//       CHECK:   %[[K:.*]] = tensor.extract_slice %[[QKV]][0, 64] [%[[T]], 32] [1, 1]
//       CHECK:   %[[V:.*]] = tensor.extract_slice %[[QKV]][0, 96] [%[[T]], 32] [1, 1]
//       CHECK:   %[[QT:.*]] = math.tanh %[[Q]]
//       CHECK:   return %[[QT]], %[[K]], %[[V]]
func.func @qkv(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>) attributes {transformer.step} {
  %wq = transformer.parameter "m.gguf" ["q"] : tensor<64x64xf16>
  %q = transformer.linear %x, %wq : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %qt = math.tanh %q : tensor<?x64xf32>
  %wk = transformer.parameter "m.gguf" ["k"] : tensor<32x64xf16>
  %k = transformer.linear %x, %wk : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  %wv = transformer.parameter "m.gguf" ["v"] : tensor<32x64xf16>
  %v = transformer.linear %x, %wv : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  return %qt, %k, %v : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}

// Products that have several weights already are joined with others.
// CHECK-LABEL: func @join_joined
//       CHECK:   transformer.linear %{{.*}}, %[[A:.*]], %[[B:.*]], %[[B]] :
//  CHECK-SAME:     -> tensor<?x96xf32>
//   CHECK-NOT:   transformer.linear
//       CHECK:   return
func.func @join_joined(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>) attributes {transformer.step} {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<32x64xf16>
  %b = transformer.parameter "m.gguf" ["b"] : tensor<32x64xf16>
  %ab = transformer.linear %x, %a, %b : (tensor<?x64xf32>, tensor<32x64xf16>, tensor<32x64xf16>) -> tensor<?x64xf32>
  %c = transformer.linear %x, %b : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  return %ab, %c : tensor<?x64xf32>, tensor<?x32xf32>
}

// A row of weights in blocks and one of f16 are different products, and one
// partner that cannot join does not keep the others apart.
// CHECK-LABEL: func @declined
//       CHECK:   transformer.linear %{{.*}} : (tensor<?x64xf32>, tensor<32x64xf16>, tensor<32x64xf16>) -> tensor<?x64xf32>
//       CHECK:   transformer.linear %{{.*}} : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
//       CHECK:   transformer.linear %{{.*}} : (tensor<?x64xf32>, tensor<24x64xf16>) -> tensor<?x24xf32>
//       CHECK:   transformer.linear %{{.*}} plus %{{.*}} : (tensor<?x64xf32>, tensor<32x64xf16>, tensor<?x32xf32>) -> tensor<?x32xf32>
//       CHECK:   transformer.linear %{{.*}} : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
func.func @declined(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x24xf32>, tensor<?x32xf32>, tensor<?x32xf32>) attributes {transformer.step} {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<32x64xf16>
  %b = transformer.parameter "m.gguf" ["b"] : tensor<32x64xf16>
  %c = transformer.parameter "m.gguf" ["c"] : tensor<32x64xbf16>
  %d = transformer.parameter "m.gguf" ["d"] : tensor<24x64xf16>
  %p = transformer.linear %x, %a : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  %q = transformer.linear %x, %b : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  // expected-remark @below {{product not joined with others of the same input: no other has weights of its type}}
  %r = transformer.linear %x, %c : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  // expected-remark @below {{product not joined with others of the same input: it has 24 outputs, expected a multiple of 16}}
  %s = transformer.linear %x, %d : (tensor<?x64xf32>, tensor<24x64xf16>) -> tensor<?x24xf32>
  // expected-remark @below {{product not joined with others of the same input: it has a residual}}
  %t = transformer.linear %x, %a plus %p : (tensor<?x64xf32>, tensor<32x64xf16>, tensor<?x32xf32>) -> tensor<?x32xf32>
  %i = arith.constant 3 : index
  %j = arith.addi %i, %i : index
  %e = transformer.parameter "m.gguf" ["e", "f", "g", "h", "i", "j", "k"][%j] : tensor<32x64xf16>
  // expected-remark @below {{product not joined with others of the same input: its weights are computed after the first product}}
  %u = transformer.linear %x, %e : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  return %p, %q, %r, %s, %t, %u : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x24xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}

// CHECK-LABEL: func @other_inputs
// CHECK-COUNT-2: transformer.linear %{{.*}}, %{{[^,]*}} :
func.func @other_inputs(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>) attributes {transformer.step} {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<32x64xf16>
  %p = transformer.linear %x, %a : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  %q = transformer.linear %y, %a : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  return %p, %q : tensor<?x32xf32>, tensor<?x32xf32>
}

// CHECK-LABEL: func @plain_entry
// CHECK-COUNT-2: transformer.linear %{{.*}}, %{{[^,]*}} :
func.func @plain_entry(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<32x64xf16>
  %b = transformer.parameter "m.gguf" ["b"] : tensor<32x64xf16>
  %p = transformer.linear %x, %a : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  %q = transformer.linear %x, %b : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  return %p, %q : tensor<?x32xf32>, tensor<?x32xf32>
}

// Each weight keeps the terms that its product read.
// CHECK-LABEL: func @other_terms
//       CHECK:   transformer.linear %{{.*}}, %{{.*}}, %{{.*}} terms [1, 2] :
//   CHECK-NOT:   transformer.linear
//       CHECK:   return
func.func @other_terms(%x: tensor<?x64x!transformer.act_q8<2>>) -> (tensor<?x32xf32>, tensor<?x32xf32>) attributes {transformer.step} {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<32x64x!transformer.q4_0>
  %y = transformer.linear %x, %a terms [1] : (tensor<?x64x!transformer.act_q8<2>>, tensor<32x64x!transformer.q4_0>) -> tensor<?x32xf32>
  %z = transformer.linear %x, %a : (tensor<?x64x!transformer.act_q8<2>>, tensor<32x64x!transformer.q4_0>) -> tensor<?x32xf32>
  return %y, %z : tensor<?x32xf32>, tensor<?x32xf32>
}
