//===- TransformerToLinalg.cpp - The definition of each op ----------------===//
//
// Naive on purpose: these are what every faster form is compared with. Only
// what has no state has a definition.
//
//===----------------------------------------------------------------------===//

#include "chorus/Conversion/TransformerToLinalg/TransformerToLinalg.h"

#include "LinalgBuilder.h"
#include "Patterns.h"

#include "chorus/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;
using namespace chorus;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_CONVERTTRANSFORMERTOLINALGPASS
#include "chorus/Conversion/Passes.h.inc"
} // namespace chorus

namespace {

Value defineRMSNorm(LinalgBuilder &l, RMSNormOp op,
                    RMSNormOp::Adaptor adaptor) {
  Value input = adaptor.getInput();
  unsigned rank = l.rank(input);
  AffineExprs at = l.dims(rank), row = l.dims(rank - 1);
  Sizes sizes = l.sizes(input), perRow(sizes.begin(), sizes.end() - 1);
  auto epsilon = static_cast<float>(op.getEpsilon().convertToDouble());
  auto width = static_cast<float>(l.width(input));
  Value squares =
      l.generic(rank, 1, {{input, at}}, l.filled(perRow, l.number(0)), row,
                [&](ValueRange elements) {
                  return l.fma(elements[0], elements[0], elements[1]);
                });
  Value scales = l.elementwise({squares}, l.f32, [&](ValueRange elements) {
    Value mean = l.div(elements[0], l.number(width));
    Value root =
        math::SqrtOp::create(l.builder, l.loc, l.add(mean, l.number(epsilon)));
    return l.div(l.number(1), root);
  });
  return l.generic(
      rank, 0, {{input, at}, {scales, row}, {adaptor.getWeight(), {at.back()}}},
      l.empty(sizes, l.f32), at, [&](ValueRange elements) {
        return l.mul(l.mul(elements[0], elements[1]), elements[2]);
      });
}

Value defineGLU(LinalgBuilder &l, GLUOp op, GLUOp::Adaptor adaptor) {
  return l.elementwise({adaptor.getGate(), adaptor.getUp()}, l.f32,
                       [&](ValueRange elements) {
                         Value x = elements[0];
                         Value below = l.add(l.number(1), l.exp(l.negate(x)));
                         return l.mul(l.div(x, below), elements[1]);
                       });
}

/// result[r, c] = input[rows[r], c]
Value defineSelectRows(LinalgBuilder &l, SelectRowsOp op,
                       SelectRowsOp::Adaptor adaptor) {
  Sizes sizes = {l.sizes(adaptor.getRows())[0], l.sizes(adaptor.getInput())[1]};
  return l.generic(2, 0, {{adaptor.getRows(), {l.dim(0)}}},
                   l.empty(sizes, l.f32), l.dims(2), [&](ValueRange elements) {
                     return l.read(adaptor.getInput(),
                                   {l.toIndex(elements[0]), l.loopIndex(1)});
                   });
}

Value defineLogSumExp(LinalgBuilder &l, LogSumExpOp op,
                      LogSumExpOp::Adaptor adaptor) {
  Value input = adaptor.getInput();
  unsigned rank = l.rank(input);
  AffineExprs at = l.dims(rank), row = l.dims(rank - 1);
  Sizes sizes = l.sizes(input), perRow(sizes.begin(), sizes.end() - 1);
  Value lowest = l.number(-std::numeric_limits<float>::infinity());
  Value largest = l.generic(
      rank, 1, {{input, at}}, l.filled(perRow, lowest), row,
      [&](ValueRange elements) { return l.maximum(elements[0], elements[1]); });
  Value sums = l.generic(
      rank, 1, {{input, at}, {largest, row}}, l.filled(perRow, l.number(0)),
      row, [&](ValueRange elements) {
        return l.add(elements[2], l.exp(l.sub(elements[0], elements[1])));
      });
  return l.elementwise({sums, largest}, l.f32, [&](ValueRange elements) {
    Value log = math::LogOp::create(l.builder, l.loc, elements[0]);
    return l.add(log, elements[1]);
  });
}

bool isSplatTensor(Operation *op) {
  auto constant = dyn_cast<arith::ConstantOp>(op);
  return constant && isa<RankedTensorType>(constant.getType()) &&
         isa<SplatElementsAttr>(constant.getValue());
}

struct DecomposeSplat : OpConversionPattern<arith::ConstantOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(arith::ConstantOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    if (!isSplatTensor(op))
      return rewriter.notifyMatchFailure(op, "is no tensor of equal elements");
    LinalgBuilder l(rewriter, op.getLoc());
    auto elements = cast<SplatElementsAttr>(op.getValue());
    Sizes sizes;
    for (int64_t size : elements.getType().getShape())
      sizes.push_back(l.size(size));
    Value scalar = arith::ConstantOp::create(
        rewriter, op.getLoc(),
        cast<TypedAttr>(elements.getSplatValue<Attribute>()));
    rewriter.replaceOp(op, l.filled(sizes, scalar));
    return success();
  }
};

bool isElementwise(Operation *op) {
  return OpTrait::hasElementwiseMappableTraits(op) &&
         llvm::all_of(op->getOperandTypes(), llvm::IsaPred<RankedTensorType>);
}

/// What keeps `op` from having a definition; empty if nothing does.
StringRef obstacle(Operation *op) {
  if (auto attention = dyn_cast<AttentionOp>(op);
      attention && attention.getCache())
    return "reads a cache and has no definition in linalg: decompose the "
           "stateless form";
  auto isComputedBlock = [](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && getBlockFormat(type.getElementType()) &&
           !value.getDefiningOp<ParameterOp>();
  };
  if (isa<LinearOp, EmbeddingOp>(op) &&
      llvm::any_of(op->getOperands(), isComputedBlock))
    return "has weights in blocks that are no parameter";
  return {};
}

struct ConvertTransformerToLinalgPass
    : chorus::impl::ConvertTransformerToLinalgPassBase<
          ConvertTransformerToLinalgPass> {
  void runOnOperation() override {
    if (failed(decompose(getOperation(), [](Operation *) { return false; })))
      signalPassFailure();
  }
};

} // namespace

void chorus::populateTransformerToLinalgTypeConversions(
    TypeConverter &converter) {
  converter.addConversion([](Type type) { return type; });
  converter.addConversion(
      [](RankedTensorType type,
         SmallVectorImpl<Type> &results) -> std::optional<LogicalResult> {
        auto rounded = dyn_cast<ActQ8Type>(type.getElementType());
        if (!rounded)
          return std::nullopt;
        SmallVector<int64_t> blocks(type.getShape());
        blocks.back() /= blockSize;
        MLIRContext *context = type.getContext();
        auto scales = RankedTensorType::get(blocks, Float32Type::get(context));
        results.append(
            {type.clone(IntegerType::get(context, 32)), scales, scales});
        return success();
      });
}

void chorus::populateTransformerToLinalgPatterns(const TypeConverter &converter,
                                                 RewritePatternSet &patterns) {
  populateLinearPatterns(converter, patterns);
  populateAttentionPatterns(converter, patterns);
  patterns.add<Decompose<RMSNormOp, defineRMSNorm>, Decompose<GLUOp, defineGLU>,
               Decompose<SelectRowsOp, defineSelectRows>,
               Decompose<LogSumExpOp, defineLogSumExp>, DecomposeSplat>(
      converter, patterns.getContext());
  linalg::populateElementwiseToLinalgConversionPatterns(patterns);
}

LogicalResult chorus::decompose(Operation *function,
                                function_ref<bool(Operation *)> keep) {
  MLIRContext *context = function->getContext();
  ConversionTarget target(*context);
  auto isLegal = [&](Operation *op) {
    bool computesNothing =
        isa<ParameterOp, RotaryTableOp, RequireIndicesOp, RequireSizeOp>(op);
    bool isDecomposed = isa<TransformerDialect>(op->getDialect())
                            ? !computesNothing
                            : isElementwise(op) || isSplatTensor(op);
    return !isDecomposed || keep(op);
  };
  target.addDynamicallyLegalDialect<TransformerDialect>(isLegal);
  target.markUnknownOpDynamicallyLegal(isLegal);

  WalkResult checked = function->walk([&](Operation *op) {
    if (StringRef why = obstacle(op); !why.empty() && !isLegal(op)) {
      op->emitOpError(why);
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  if (checked.wasInterrupted())
    return failure();

  TypeConverter converter;
  populateTransformerToLinalgTypeConversions(converter);
  RewritePatternSet patterns(context);
  populateTransformerToLinalgPatterns(converter, patterns);
  if (failed(applyPartialConversion(function, target, std::move(patterns))))
    return failure();
  // Block parameters are read as bytes now.
  function->walk([](ParameterOp op) {
    if (op->use_empty())
      op->erase();
  });
  return success();
}
