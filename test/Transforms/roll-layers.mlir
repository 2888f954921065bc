// RUN: chorus-opt %s -chorus-roll-layers | FileCheck %s

!kv2 = !transformer.state<paged_kv, f32, layers = 2, kv_heads = 4, head_dim = 16>
!kv6 = !transformer.state<paged_kv, f32, layers = 6, kv_heads = 4, head_dim = 16>

// CHECK-LABEL: func @layers
//  CHECK-SAME:   %[[X:[^:]*]]: tensor<?x64xf32>, %[[P:[^:]*]]: tensor<?xi32>, %[[CACHE:[^:]*]]: !transformer
//       CHECK:   %[[TABLE:.*]] = transformer.rotary_table theta = 1.000000e+05
//   CHECK-NOT:   transformer.rotary_table
//       CHECK:   %[[X0:.*]] = math.tanh %[[X]]
//   CHECK-DAG:   %[[C0:.*]] = arith.constant 0
//   CHECK-DAG:   %[[C1:.*]] = arith.constant 1
//   CHECK-DAG:   %[[C2:.*]] = arith.constant 2
//       CHECK:   %[[Y:.*]] = scf.for %[[L:.*]] = %[[C0]] to %[[C2]] step %[[C1]] iter_args(%[[XL:.*]] = %[[X0]]) -> (tensor<?x64xf32>) {
//       CHECK:     %[[N:.*]] = transformer.parameter "m.gguf" ["n.0", "n.1"][%[[L]]] : tensor<64xf32>
//       CHECK:     %[[H:.*]] = transformer.rms_norm %[[XL]], %[[N]]
//       CHECK:     %[[Q:.*]] = transformer.rotary adjacent %[[H]], %[[TABLE]] at %[[P]]
//       CHECK:     %[[A:.*]] = transformer.attention causal %[[Q]], %[[H]], %[[H]] cache %[[CACHE]][%[[L]]] at %[[P]]
//       CHECK:     %[[W:.*]] = transformer.parameter "m.gguf" ["w.0", "w.1"][%[[L]]] : tensor<64x64xf16>
//       CHECK:     %[[O:.*]] = transformer.linear %[[A]], %[[W]] plus %[[XL]]
//       CHECK:     %[[D:.*]] = transformer.linear %[[O]], %[[W]] plus %[[O]]
//       CHECK:     %[[Z:.*]] = math.tanh %[[D]]
//       CHECK:     scf.yield %[[Z]]
//       CHECK:   }
//   CHECK-NOT:   arith.constant
//   CHECK-NOT:   transformer
//       CHECK:   return %[[Y]]
func.func @layers(%x: tensor<?x64xf32>, %p: tensor<?xi32>, %cache: !kv2) -> tensor<?x64xf32> attributes {transformer.step} {
  %x0 = math.tanh %x : tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n0 = transformer.parameter "m.gguf" ["n.0"] : tensor<64xf32>
  %h0 = transformer.rms_norm %x0, %n0 epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  // Equal tables are one table.
  %t0 = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %q0 = transformer.rotary adjacent %h0, %t0 at %p : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
  %a0 = transformer.attention causal %q0, %h0, %h0 cache %cache[%c0] at %p : !kv2, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %w0 = transformer.parameter "m.gguf" ["w.0"] : tensor<64x64xf16>
  %o0 = transformer.linear %a0, %w0 plus %x0 : (tensor<?x64xf32>, tensor<64x64xf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %d0 = transformer.linear %o0, %w0 plus %o0 : (tensor<?x64xf32>, tensor<64x64xf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %x1 = math.tanh %d0 : tensor<?x64xf32>
  %n1 = transformer.parameter "m.gguf" ["n.1"] : tensor<64xf32>
  %h1 = transformer.rms_norm %x1, %n1 epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %t1 = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %q1 = transformer.rotary adjacent %h1, %t1 at %p : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
  %a1 = transformer.attention causal %q1, %h1, %h1 cache %cache[%c1] at %p : !kv2, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %w1 = transformer.parameter "m.gguf" ["w.1"] : tensor<64x64xf16>
  %o1 = transformer.linear %a1, %w1 plus %x1 : (tensor<?x64xf32>, tensor<64x64xf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %d1 = transformer.linear %o1, %w1 plus %o1 : (tensor<?x64xf32>, tensor<64x64xf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %x2 = math.tanh %d1 : tensor<?x64xf32>
  return %x2 : tensor<?x64xf32>
}

// Two kinds of layers in turn are one period with two layers of the cache.
// CHECK-LABEL: func @alternating
//       CHECK:   %[[C3:.*]] = arith.constant 3 : index
//       CHECK:   scf.for %[[L:.*]] = %{{.*}} to %[[C3]]
//       CHECK:     %[[FIRST:.*]] = arith.muli %[[L]], %{{.*}} : index
//       CHECK:     transformer.attention {{.*}}[%[[FIRST]]] at
//       CHECK:     math.tanh
//       CHECK:     %[[SECOND:.*]] = arith.addi %[[FIRST]], %{{.*}} : index
//       CHECK:     transformer.attention {{.*}}[%[[SECOND]]] at
//       CHECK:     math.absf
//       CHECK:     scf.yield
//   CHECK-NOT:   transformer.attention
//       CHECK:   return
func.func @alternating(%x: tensor<?x64xf32>, %p: tensor<?xi32>, %cache: !kv6) -> tensor<?x64xf32> attributes {transformer.step} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c5 = arith.constant 5 : index
  %x0 = arith.addf %x, %x : tensor<?x64xf32>
  %a0 = transformer.attention causal %x0, %x0, %x0 cache %cache[%c0] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %x1 = math.tanh %a0 : tensor<?x64xf32>
  %a1 = transformer.attention causal %x1, %x1, %x1 cache %cache[%c1] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %x2 = math.absf %a1 : tensor<?x64xf32>
  %a2 = transformer.attention causal %x2, %x2, %x2 cache %cache[%c2] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %x3 = math.tanh %a2 : tensor<?x64xf32>
  %a3 = transformer.attention causal %x3, %x3, %x3 cache %cache[%c3] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %x4 = math.absf %a3 : tensor<?x64xf32>
  %a4 = transformer.attention causal %x4, %x4, %x4 cache %cache[%c4] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %x5 = math.tanh %a4 : tensor<?x64xf32>
  %a5 = transformer.attention causal %x5, %x5, %x5 cache %cache[%c5] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %x6 = math.absf %a5 : tensor<?x64xf32>
  return %x6 : tensor<?x64xf32>
}

// A layer of another kind among equal ones: a loop before it and one behind,
// whose layers of the cache go on where the other's end.
// CHECK-LABEL: func @one_differs
//       CHECK:   %[[A:.*]] = scf.for %[[L:.*]] = {{.*}} iter_args
//   CHECK-NOT:     arith.addi
//       CHECK:     transformer.attention {{.*}}[%[[L]]]
//       CHECK:     scf.yield
//       CHECK:   %[[B:.*]] = math.cos %[[A]]
//       CHECK:   scf.for %[[M:.*]] = {{.*}} iter_args(%{{.*}} = %[[B]])
//       CHECK:     %[[LAYER:.*]] = arith.addi %[[M]], %{{.*}} : index
//       CHECK:     transformer.attention {{.*}}[%[[LAYER]]]
//       CHECK:     scf.yield
//       CHECK:   return
func.func @one_differs(%x: tensor<?x64xf32>, %p: tensor<?xi32>, %cache: !kv6) -> tensor<?x64xf32> attributes {transformer.step} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c5 = arith.constant 5 : index
  %x0 = arith.addf %x, %x : tensor<?x64xf32>
  %a0 = transformer.attention causal %x0, %x0, %x0 cache %cache[%c0] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %t0 = math.tanh %a0 : tensor<?x64xf32>
  %x1 = math.absf %t0 : tensor<?x64xf32>
  %a1 = transformer.attention causal %x1, %x1, %x1 cache %cache[%c1] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %t1 = math.tanh %a1 : tensor<?x64xf32>
  %x2 = math.absf %t1 : tensor<?x64xf32>
  %a2 = transformer.attention causal %x2, %x2, %x2 cache %cache[%c2] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %t2 = math.tanh %a2 : tensor<?x64xf32>
  %x3 = math.absf %t2 : tensor<?x64xf32>
  %y3 = math.cos %x3 : tensor<?x64xf32>
  %a3 = transformer.attention causal %y3, %y3, %y3 cache %cache[%c3] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %t3 = math.tanh %a3 : tensor<?x64xf32>
  %x4 = math.absf %t3 : tensor<?x64xf32>
  %a4 = transformer.attention causal %x4, %x4, %x4 cache %cache[%c4] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %t4 = math.tanh %a4 : tensor<?x64xf32>
  %x5 = math.absf %t4 : tensor<?x64xf32>
  %a5 = transformer.attention causal %x5, %x5, %x5 cache %cache[%c5] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %t5 = math.tanh %a5 : tensor<?x64xf32>
  %x6 = math.absf %t5 : tensor<?x64xf32>
  return %x6 : tensor<?x64xf32>
}

// Two values pass from period to period; one comes from before all of them; one
// parameter is the same in all.
// CHECK-LABEL: func @two_carried
//  CHECK-SAME:   %[[X:[^:]*]]: tensor<?x64xf32>
//       CHECK:   %[[X0:.*]] = math.sin %[[X]]
//       CHECK:   %[[Y0:.*]] = math.cos %[[X]]
//       CHECK:   %[[W:.*]] = transformer.parameter "m.gguf" ["w"] : tensor<64xf32>
//       CHECK:   %[[Z:.*]]:2 = scf.for {{.*}} iter_args(%[[A:.*]] = %[[X0]], %[[B:.*]] = %[[Y0]])
//       CHECK:     %[[U:.*]] = arith.addf %[[A]], %[[B]]
//       CHECK:     %[[V:.*]] = arith.mulf %[[U]], %[[Y0]]
//       CHECK:     %[[N:.*]] = transformer.rms_norm %[[V]], %[[W]]
//       CHECK:     %[[T:.*]] = math.tanh %[[N]]
//       CHECK:     scf.yield %[[U]], %[[T]]
//       CHECK:   return %[[Z]]#0, %[[Z]]#1
func.func @two_carried(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) attributes {transformer.step} {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64xf32>
  %x0 = math.sin %x : tensor<?x64xf32>
  %y0 = math.cos %x : tensor<?x64xf32>
  %u0 = arith.addf %x0, %y0 : tensor<?x64xf32>
  %v0 = arith.mulf %u0, %y0 : tensor<?x64xf32>
  %n0 = transformer.rms_norm %v0, %w epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %t0 = math.tanh %n0 : tensor<?x64xf32>
  %u1 = arith.addf %u0, %t0 : tensor<?x64xf32>
  %v1 = arith.mulf %u1, %y0 : tensor<?x64xf32>
  %n1 = transformer.rms_norm %v1, %w epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %t1 = math.tanh %n1 : tensor<?x64xf32>
  %u2 = arith.addf %u1, %t1 : tensor<?x64xf32>
  %v2 = arith.mulf %u2, %y0 : tensor<?x64xf32>
  %n2 = transformer.rms_norm %v2, %w epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %t2 = math.tanh %n2 : tensor<?x64xf32>
  return %u2, %t2 : tensor<?x64xf32>, tensor<?x64xf32>
}

// A loop has no place for a value inside the last layer that is read after it,
// so that layer stays outside.
// CHECK-LABEL: func @read_inside_last
//       CHECK:   arith.constant 3 : index
//       CHECK:   %[[X:.*]] = scf.for
//       CHECK:     math.absf
//       CHECK:     scf.yield
//       CHECK:   %[[S:.*]] = math.sin %[[X]]
//       CHECK:   %[[T:.*]] = math.tanh %[[S]]
//       CHECK:   %[[Y:.*]] = math.absf %[[T]]
//       CHECK:   return %[[Y]], %[[T]]
func.func @read_inside_last(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) attributes {transformer.step} {
  %x0 = arith.addf %x, %x : tensor<?x64xf32>
  %s0 = math.sin %x0 : tensor<?x64xf32>
  %t0 = math.tanh %s0 : tensor<?x64xf32>
  %x1 = math.absf %t0 : tensor<?x64xf32>
  %s1 = math.sin %x1 : tensor<?x64xf32>
  %t1 = math.tanh %s1 : tensor<?x64xf32>
  %x2 = math.absf %t1 : tensor<?x64xf32>
  %s2 = math.sin %x2 : tensor<?x64xf32>
  %t2 = math.tanh %s2 : tensor<?x64xf32>
  %x3 = math.absf %t2 : tensor<?x64xf32>
  %s3 = math.sin %x3 : tensor<?x64xf32>
  %t3 = math.tanh %s3 : tensor<?x64xf32>
  %x4 = math.absf %t3 : tensor<?x64xf32>
  return %x4, %t3 : tensor<?x64xf32>, tensor<?x64xf32>
}

// The result of an early layer is read at the end: the loop ends with it, and
// another goes on.
// CHECK-LABEL: func @read_early_layer
//       CHECK:   %[[X:.*]] = scf.for
//       CHECK:     scf.yield
//       CHECK:   %[[Y:.*]] = scf.for {{.*}} iter_args(%{{.*}} = %[[X]])
//       CHECK:     scf.yield
//       CHECK:   return %[[Y]], %[[X]]
func.func @read_early_layer(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) attributes {transformer.step} {
  %x0 = arith.addf %x, %x : tensor<?x64xf32>
  %s0 = math.sin %x0 : tensor<?x64xf32>
  %t0 = math.tanh %s0 : tensor<?x64xf32>
  %x1 = math.absf %t0 : tensor<?x64xf32>
  %s1 = math.sin %x1 : tensor<?x64xf32>
  %t1 = math.tanh %s1 : tensor<?x64xf32>
  %x2 = math.absf %t1 : tensor<?x64xf32>
  %s2 = math.sin %x2 : tensor<?x64xf32>
  %t2 = math.tanh %s2 : tensor<?x64xf32>
  %x3 = math.absf %t2 : tensor<?x64xf32>
  %s3 = math.sin %x3 : tensor<?x64xf32>
  %t3 = math.tanh %s3 : tensor<?x64xf32>
  %x4 = math.absf %t3 : tensor<?x64xf32>
  %s4 = math.sin %x4 : tensor<?x64xf32>
  %t4 = math.tanh %s4 : tensor<?x64xf32>
  %x5 = math.absf %t4 : tensor<?x64xf32>
  %s5 = math.sin %x5 : tensor<?x64xf32>
  %t5 = math.tanh %s5 : tensor<?x64xf32>
  %x6 = math.absf %t5 : tensor<?x64xf32>
  return %x6, %x3 : tensor<?x64xf32>, tensor<?x64xf32>
}

// What looks alike but differs in an attribute, in the type of a parameter, in
// its file, in the table or in how layers of the cache follow each other. Each
// stretch of ops is long enough that equal neighbours would be rolled.
// CHECK-LABEL: func @unequal
//   CHECK-NOT:   scf.for
//       CHECK:   return
func.func @unequal(%x: tensor<?x64xf32>, %p: tensor<?xi32>, %cache: !kv6) -> tensor<?x64xf32> attributes {transformer.step} {
  %zero = arith.constant 0 : index
  %two = arith.constant 2 : index
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  %w16 = transformer.parameter "m.gguf" ["w16"] : tensor<64x64xf16>
  %wb16 = transformer.parameter "m.gguf" ["wb16"] : tensor<64x64xbf16>
  %v16 = transformer.parameter "other.gguf" ["w16"] : tensor<64x64xf16>
  %t = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %u = transformer.rotary_table theta = 1.0e+04 : tensor<128x8x2xf32>
  %x0 = math.exp %x : tensor<?x64xf32>
  %a0 = transformer.rms_norm %x0, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  %a1 = math.sin %a0 : tensor<?x64xf32>
  %a2 = math.tanh %a1 : tensor<?x64xf32>
  %a3 = math.absf %a2 : tensor<?x64xf32>
  %a4 = math.ceil %a3 : tensor<?x64xf32>
  %a5 = math.floor %a4 : tensor<?x64xf32>
  %b0 = transformer.rms_norm %a5, %n epsilon = 1.0e-06 : tensor<?x64xf32>, tensor<64xf32>
  %b1 = math.sin %b0 : tensor<?x64xf32>
  %b2 = math.tanh %b1 : tensor<?x64xf32>
  %b3 = math.absf %b2 : tensor<?x64xf32>
  %b4 = math.ceil %b3 : tensor<?x64xf32>
  %b5 = math.floor %b4 : tensor<?x64xf32>
  %c0 = transformer.linear %b5, %wb16 : (tensor<?x64xf32>, tensor<64x64xbf16>) -> tensor<?x64xf32>
  %c1 = math.sin %c0 : tensor<?x64xf32>
  %c2 = math.tanh %c1 : tensor<?x64xf32>
  %c3 = math.absf %c2 : tensor<?x64xf32>
  %c4 = math.ceil %c3 : tensor<?x64xf32>
  %c5 = math.floor %c4 : tensor<?x64xf32>
  %d0 = transformer.linear %c5, %w16 : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %d1 = math.sin %d0 : tensor<?x64xf32>
  %d2 = math.tanh %d1 : tensor<?x64xf32>
  %d3 = math.absf %d2 : tensor<?x64xf32>
  %d4 = math.ceil %d3 : tensor<?x64xf32>
  %d5 = math.floor %d4 : tensor<?x64xf32>
  %e0 = transformer.linear %d5, %v16 : (tensor<?x64xf32>, tensor<64x64xf16>) -> tensor<?x64xf32>
  %e1 = math.sin %e0 : tensor<?x64xf32>
  %e2 = math.tanh %e1 : tensor<?x64xf32>
  %e3 = math.absf %e2 : tensor<?x64xf32>
  %e4 = math.ceil %e3 : tensor<?x64xf32>
  %e5 = math.floor %e4 : tensor<?x64xf32>
  %f0 = transformer.rotary adjacent %e5, %t at %p : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
  %f1 = math.sin %f0 : tensor<?x64xf32>
  %f2 = math.tanh %f1 : tensor<?x64xf32>
  %f3 = math.absf %f2 : tensor<?x64xf32>
  %f4 = math.ceil %f3 : tensor<?x64xf32>
  %f5 = math.floor %f4 : tensor<?x64xf32>
  %g0 = transformer.rotary adjacent %f5, %u at %p : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
  %g1 = math.sin %g0 : tensor<?x64xf32>
  %g2 = math.tanh %g1 : tensor<?x64xf32>
  %g3 = math.absf %g2 : tensor<?x64xf32>
  %g4 = math.ceil %g3 : tensor<?x64xf32>
  %g5 = math.floor %g4 : tensor<?x64xf32>
  %h0 = transformer.attention causal %g5, %g5, %g5 cache %cache[%zero] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %h1 = math.sin %h0 : tensor<?x64xf32>
  %h2 = math.tanh %h1 : tensor<?x64xf32>
  %h3 = math.absf %h2 : tensor<?x64xf32>
  %h4 = math.ceil %h3 : tensor<?x64xf32>
  %h5 = math.floor %h4 : tensor<?x64xf32>
  %i0 = transformer.attention causal %h5, %h5, %h5 cache %cache[%two] at %p : !kv6, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %i1 = math.sin %i0 : tensor<?x64xf32>
  %i2 = math.tanh %i1 : tensor<?x64xf32>
  %i3 = math.absf %i2 : tensor<?x64xf32>
  %i4 = math.ceil %i3 : tensor<?x64xf32>
  %i5 = math.floor %i4 : tensor<?x64xf32>
  return %i5 : tensor<?x64xf32>
}

// Equal ops with another flow of data: the second chain starts over.
// CHECK-LABEL: func @other_dataflow
//   CHECK-NOT:   scf.for
//       CHECK:   return
func.func @other_dataflow(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) attributes {transformer.step} {
  %x0 = arith.addf %x, %x : tensor<?x64xf32>
  %a0 = math.sin %x0 : tensor<?x64xf32>
  %a1 = math.tanh %a0 : tensor<?x64xf32>
  %a2 = math.absf %a1 : tensor<?x64xf32>
  %a3 = math.ceil %a2 : tensor<?x64xf32>
  %a4 = math.floor %a3 : tensor<?x64xf32>
  %a5 = math.exp %a4 : tensor<?x64xf32>
  %b0 = math.sin %x0 : tensor<?x64xf32>
  %b1 = math.tanh %b0 : tensor<?x64xf32>
  %b2 = math.absf %b1 : tensor<?x64xf32>
  %b3 = math.ceil %b2 : tensor<?x64xf32>
  %b4 = math.floor %b3 : tensor<?x64xf32>
  %b5 = math.exp %b4 : tensor<?x64xf32>
  return %a5, %b5 : tensor<?x64xf32>, tensor<?x64xf32>
}

// A loop of two ops would cost more than it saves.
// CHECK-LABEL: func @too_short
//   CHECK-NOT:   scf.for
//       CHECK:   return
func.func @too_short(%x: tensor<?x64xf32>) -> tensor<?x64xf32> attributes {transformer.step} {
  %a = math.sin %x : tensor<?x64xf32>
  %b = math.tanh %a : tensor<?x64xf32>
  %c = math.sin %b : tensor<?x64xf32>
  %d = math.tanh %c : tensor<?x64xf32>
  return %d : tensor<?x64xf32>
}

// CHECK-LABEL: func @plain_entry
//   CHECK-NOT:   scf.for
//       CHECK:   return
func.func @plain_entry(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %x0 = arith.addf %x, %x : tensor<?x64xf32>
  %1 = math.sin %x0 : tensor<?x64xf32>
  %2 = math.sin %1 : tensor<?x64xf32>
  %3 = math.sin %2 : tensor<?x64xf32>
  %4 = math.sin %3 : tensor<?x64xf32>
  %5 = math.sin %4 : tensor<?x64xf32>
  %6 = math.sin %5 : tensor<?x64xf32>
  %7 = math.sin %6 : tensor<?x64xf32>
  return %7 : tensor<?x64xf32>
}
