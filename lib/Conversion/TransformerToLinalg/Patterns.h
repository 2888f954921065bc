//===- Patterns.h - Definitions, grouped by file ----------------*- C++ -*-===//

#ifndef CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_PATTERNS_H
#define CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_PATTERNS_H

#include "LinalgBuilder.h"

#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/Transforms/DialectConversion.h"

namespace chorus {

/// Replaces an op by its definition: what
/// `Value define(LinalgBuilder &, Op, Op::Adaptor)` makes. For ops whose
/// operands and result each become one tensor.
template <typename Op, auto define>
struct Decompose : mlir::OpConversionPattern<Op> {
  using mlir::OpConversionPattern<Op>::OpConversionPattern;
  mlir::LogicalResult
  matchAndRewrite(Op op, typename Op::Adaptor adaptor,
                  mlir::ConversionPatternRewriter &rewriter) const override {
    LinalgBuilder l(rewriter, op.getLoc());
    rewriter.replaceOp(op, define(l, op, adaptor));
    return mlir::success();
  }
};

/// embedding, quantize_activations, linear: DecomposeLinear.cpp.
void populateLinearPatterns(const mlir::TypeConverter &converter,
                            mlir::RewritePatternSet &patterns);
/// rotary, round_to_cache, attention: DecomposeAttention.cpp.
void populateAttentionPatterns(const mlir::TypeConverter &converter,
                               mlir::RewritePatternSet &patterns);

} // namespace chorus

#endif // CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_PATTERNS_H
