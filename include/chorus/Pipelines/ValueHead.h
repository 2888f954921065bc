//===- ValueHead.h - A model's scores of its own texts ----------*- C++ -*-===//
//
// A verifier that is one more column on the trunk of the generator, in one of
// two forms. Linear: the product of a weight with the hidden state that the
// vocabulary product reads. Logit: one token's logit.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_PIPELINES_VALUEHEAD_H
#define CHORUS_PIPELINES_VALUEHEAD_H

#include "chorus/Import/Import.h"

#include <cstdint>
#include <optional>
#include <string>

namespace chorus {

/// The value after a position is gain * x + bias: x is the logit of `token`, or
/// without one the result "value" of the model's `@main`.
struct ValueHead {
  std::optional<int32_t> token;
  float gain = 1, bias = 0;
};

/// Reads a value head of `model` from a safetensors file: `weight` [d_model]
/// (F32, F16, BF16) and `bias` [] (F32), or `token` [] (I32, I64), `gain` []
/// and `bias` [] (F32). The linear form becomes a result of `@main`, whose
/// logits must be a product. Errors: S of the file's reader; G22 for a tensor
/// that is missing, has another shape, or is none of these; G23 for a value
/// that is not finite; `unsupported` for another type and for a model whose
/// logits are no product.
rt::StatusOr<ValueHead> addValueHead(const std::string &path,
                                     ImportedModel &model);

} // namespace chorus

#endif // CHORUS_PIPELINES_VALUEHEAD_H
