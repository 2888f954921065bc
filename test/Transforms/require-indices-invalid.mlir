// RUN: chorus-opt %s -split-input-file -chorus-require-indices -verify-diagnostics

#id = affine_map<(d0) -> (d0)>
func.func @computed(%data: tensor<8xf32>, %out: tensor<?xf32>) -> tensor<?xf32> {
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%out : tensor<?xf32>) {
  ^bb0(%unused: f32):
    %i = linalg.index 0 : index
    %j = arith.addi %i, %i : index
    // expected-error@+1 {{index 0 must be a constant that is not negative, linalg.index, or an element of an input, so that it can be checked before a call}}
    %e = tensor.extract %data[%j] : tensor<8xf32>
    linalg.yield %e : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}

// -----

#id = affine_map<(d0) -> (d0)>
func.func @of_the_result(%data: tensor<8xi32>, %out: tensor<?xi32>) -> tensor<?xi32> {
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%out : tensor<?xi32>) {
  ^bb0(%before: i32):
    %j = arith.index_cast %before : i32 to index
    // expected-error@+1 {{index 0 must be a constant}}
    %e = tensor.extract %data[%j] : tensor<8xi32>
    linalg.yield %e : i32
  } -> tensor<?xi32>
  return %r : tensor<?xi32>
}

// -----

#id = affine_map<(d0) -> (d0)>
func.func @negative(%data: tensor<8xf32>, %out: tensor<?xf32>) -> tensor<?xf32> {
  %j = arith.constant -1 : index
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%out : tensor<?xf32>) {
  ^bb0(%unused: f32):
    // expected-error@+1 {{index 0 must be a constant that is not negative}}
    %e = tensor.extract %data[%j] : tensor<8xf32>
    linalg.yield %e : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}

// -----

#id = affine_map<(d0) -> (d0)>
func.func @inside(%out: tensor<?xf32>) -> tensor<?xf32> {
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%out : tensor<?xf32>) {
  ^bb0(%x: f32):
    %i = linalg.index 0 : index
    %t = tensor.from_elements %x : tensor<1xf32>
    // expected-error@+1 {{the tensor must be from outside of the loops}}
    %e = tensor.extract %t[%i] : tensor<1xf32>
    linalg.yield %e : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}
