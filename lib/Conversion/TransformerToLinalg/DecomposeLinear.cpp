//===- DecomposeLinear.cpp - Definitions of products and look-ups ---------===//
//
// Weights in blocks are read as the bytes of their file and dequantised where
// they are used, element by element.
//
//===----------------------------------------------------------------------===//

#include "LinalgBuilder.h"
#include "Patterns.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace chorus;
using namespace chorus::transformer;

namespace {

/// A weight [out, in] of any element type.
class Weight {
public:
  Weight(LinalgBuilder &l, Value value) : l(l), tensor(value) {
    RankedTensorType type = LinalgBuilder::type(value);
    std::optional<BlockFormat> found = getBlockFormat(type.getElementType());
    if (!found)
      return;
    inBlocks = true;
    format = *found;
    auto bytes = RankedTensorType::get({type.getDimSize(0),
                                        type.getDimSize(1) / blockSize,
                                        format.sourceBytes},
                                       l.i8);
    auto parameter = value.getDefiningOp<ParameterOp>();
    tensor =
        ParameterOp::create(l.builder, l.loc, bytes, parameter.getFileAttr(),
                            parameter.getNamesAttr(), parameter.getLayer());
  }

  bool isInBlocks() const { return inBlocks; }
  bool hasMinimum() const { return format.hasMinimum; }

  /// The scale of a block in f32.
  Value scale(Value row, Value block) { return half(row, block, 0); }
  Value minimum(Value row, Value block) { return half(row, block, 2); }

  /// The integer of element `at` of a block less its zero point, i32.
  Value integer(Value row, Value block, Value at) {
    Value first = l.index(hasMinimum() ? 4 : 2);
    if (format.bits == 8)
      return l.extend(l.read(tensor, {row, block, l.add(first, at)}));
    // Low halves of 16 bytes come first, then the high halves.
    Value byte =
        l.read(tensor, {row, block, l.add(first, l.rem(at, blockSize / 2))});
    Value shift = l.toInteger(l.mul(l.div(at, blockSize / 2), l.index(4)));
    Value shifted = arith::ShRUIOp::create(
        l.builder, l.loc, l.extendUnsigned(byte, l.i32), shift);
    Value stored =
        arith::AndIOp::create(l.builder, l.loc, shifted, l.number32(15));
    return l.sub(stored, l.number32(static_cast<int32_t>(format.zeroPoint)));
  }

  /// The value at [row, column] in f32.
  Value value(Value row, Value column) {
    if (!inBlocks)
      return l.widen(l.read(tensor, {row, column}));
    Value block = l.div(column, blockSize);
    Value q = l.toFloat(integer(row, block, l.rem(column, blockSize)));
    if (hasMinimum())
      return l.fma(scale(row, block), q, minimum(row, block));
    return l.mul(scale(row, block), q);
  }

private:
  Value half(Value row, Value block, int64_t at) {
    auto byte = [&](int64_t place) {
      return l.extendUnsigned(l.read(tensor, {row, block, l.index(place)}),
                              l.i16);
    };
    Value eight = arith::ConstantOp::create(l.builder, l.loc,
                                            l.builder.getI16IntegerAttr(8));
    Value high = arith::ShLIOp::create(l.builder, l.loc, byte(at + 1), eight);
    Value bits = arith::OrIOp::create(l.builder, l.loc, high, byte(at));
    return l.widen(l.bitcast(bits, l.f16));
  }

  LinalgBuilder &l;
  Value tensor;
  bool inBlocks = false;
  BlockFormat format{};
};

/// result[.., c] = table[tokens[..], c]
Value defineEmbedding(LinalgBuilder &l, EmbeddingOp op,
                      EmbeddingOp::Adaptor adaptor) {
  Value tokens = adaptor.getTokens();
  Weight table(l, op.getTable());
  unsigned leading = l.rank(tokens);
  Sizes sizes = l.sizes(tokens);
  sizes.push_back(l.size(l.width(op.getResult())));
  return l.generic(
      leading + 1, 0, {{tokens, l.dims(leading)}}, l.empty(sizes, l.f32),
      l.dims(leading + 1), [&](ValueRange elements) {
        return table.value(l.toIndex(elements[0]), l.loopIndex(leading));
      });
}

/// For each block its scale times the sum of its values.
Value scaledSums(LinalgBuilder &l, Value values, Value scales) {
  AffineExprs at = l.dims(l.rank(values)), atBlock = at;
  atBlock.back() = at.back().floorDiv(blockSize);
  Value sums = l.generic(
      l.rank(values), 1, {{values, at}},
      l.filled(l.sizes(scales), l.number32(0)), atBlock,
      [&](ValueRange elements) { return l.add(elements[1], elements[0]); });
  return l.elementwise({sums, scales}, l.f32, [&](ValueRange elements) {
    return l.mul(elements[1], l.toFloat(elements[0]));
  });
}

/// The parts of the first of two terms: high digits, with 256 times the scale.
SmallVector<Value> firstTerm(LinalgBuilder &l, ValueRange twoTerms) {
  Value values =
      l.elementwise({twoTerms[0]}, l.i32, [&](ValueRange elements) -> Value {
        return arith::ShRSIOp::create(l.builder, l.loc,
                                      l.add(elements[0], l.number32(128)),
                                      l.number32(8));
      });
  Value scales = l.elementwise({twoTerms[1]}, l.f32, [&](ValueRange elements) {
    return l.mul(elements[0], l.number(256));
  });
  return {values, scales, scaledSums(l, values, scales)};
}

/// Values [.., d] i32 (of two terms 256 * high + low), scales [.., d / 32] and
/// scaled sums [.., d / 32] f32.
struct DecomposeQuantizeActivations
    : OpConversionPattern<QuantizeActivationsOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(QuantizeActivationsOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    LinalgBuilder l(rewriter, op.getLoc());
    auto type = cast<RankedTensorType>(op.getResult().getType());
    bool twoTerms = cast<ActQ8Type>(type.getElementType()).getTerms() == 2;
    float base = twoTerms ? 256 : 1;
    Value input = adaptor.getInput();
    unsigned rank = l.rank(input);
    AffineExprs at = l.dims(rank), atBlock = at;
    atBlock.back() = at.back().floorDiv(blockSize);
    Sizes blocks = l.sizes(input);
    blocks.back() = l.size(l.width(input) / blockSize);

    // The largest magnitude by its bits, so that a NaN is the largest.
    Value largest =
        l.generic(rank, 1, {{input, at}}, l.filled(blocks, l.number32(0)),
                  atBlock, [&](ValueRange elements) {
                    Value magnitude = arith::AndIOp::create(
                        l.builder, l.loc, l.bitcast(elements[0], l.i32),
                        l.number32(0x7fffffff));
                    return l.maximum(elements[1], magnitude);
                  });
    Value scales = l.elementwise({largest}, l.f32, [&](ValueRange elements) {
      Value bits = elements[0];
      Value scale = l.div(l.bitcast(bits, l.f32), l.number(127));
      scale = l.select(l.less(bits, l.number32(0x1c800000)), // 2^-70
                       l.number(0), scale);
      Value nan = l.bitcast(l.number32(0x7fc00000), l.f32);
      return l.select(l.less(bits, l.number32(0x7f800000)), scale, nan);
    });
    Value values = l.generic(
        rank, 0, {{input, at}, {scales, atBlock}},
        l.empty(l.sizes(input), l.i32), at, [&](ValueRange elements) {
          Value usable = l.less(l.number(0), elements[1]);
          Value scale = l.select(usable, elements[1], l.number(1));
          Value x = l.select(usable, elements[0], l.number(0));
          auto rounded = [&](Value y) -> Value {
            y = math::RoundEvenOp::create(l.builder, l.loc, y);
            return arith::FPToSIOp::create(l.builder, l.loc, l.i32, y);
          };
          Value y = l.mul(x, l.div(l.number(1), scale));
          Value high = l.maximum(l.number32(-127),
                                 l.minimum(l.number32(127), rounded(y)));
          if (!twoTerms)
            return high;
          Value whole = l.mul(high, l.number32(256));
          Value low = l.sub(rounded(l.mul(y, l.number(256))), whole);
          low = l.maximum(l.number32(-127), l.minimum(l.number32(127), low));
          return l.add(whole, low);
        });
    if (twoTerms)
      scales = l.elementwise({scales}, l.f32, [&](ValueRange elements) {
        return l.mul(elements[0], l.number(1 / base));
      });
    SmallVector<Value> parts = {values, scales, scaledSums(l, values, scales)};
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};

struct DecomposeLinear : OpConversionPattern<LinearOp> {
  using OpConversionPattern::OpConversionPattern;

  /// y[.., n] = chain of fma(weight[n, k], x[.., k]) over k
  static Value product(LinalgBuilder &l, Value input, Value weightValue) {
    Weight weight(l, weightValue);
    unsigned leading = l.rank(input) - 1;
    AffineExprs at = l.dims(leading), to = at;
    at.push_back(l.dim(leading + 1));
    to.push_back(l.dim(leading));
    Sizes sizes = l.sizes(input);
    sizes.back() = l.size(l.type(weightValue).getDimSize(0));
    Value zeros = l.filled(sizes, l.number(0));
    if (!weight.isInBlocks()) {
      AffineExprs cell = {l.dim(leading), l.dim(leading + 1)};
      return l.generic(leading + 2, 1, {{input, at}, {weightValue, cell}},
                       zeros, to, [&](ValueRange elements) {
                         return l.fma(l.widen(elements[1]), elements[0],
                                      elements[2]);
                       });
    }
    return l.generic(
        leading + 2, 1, {{input, at}}, zeros, to, [&](ValueRange elements) {
          Value w =
              weight.value(l.loopIndex(leading), l.loopIndex(leading + 1));
          return l.fma(w, elements[0], elements[1]);
        });
  }

  /// The same of rounded activations: per block an exact sum of integers.
  static Value integerProduct(LinalgBuilder &l, ValueRange input,
                              Value weightValue) {
    Weight weight(l, weightValue);
    Value values = input[0], scales = input[1], scaledSums = input[2];
    unsigned leading = l.rank(values) - 1;
    AffineExprs at = l.dims(leading), to = at;
    at.push_back(l.dim(leading + 1));
    to.push_back(l.dim(leading));
    Sizes sizes = l.sizes(values);
    sizes.back() = l.size(l.type(weightValue).getDimSize(0));
    return l.generic(
        leading + 2, 1, {{scales, at}, {scaledSums, at}},
        l.filled(sizes, l.number(0)), to, [&](ValueRange elements) {
          SmallVector<Value> place;
          for (unsigned i = 0; i < leading; ++i)
            place.push_back(l.loopIndex(i));
          Value row = l.loopIndex(leading), block = l.loopIndex(leading + 1);
          Value first = l.mul(block, l.index(blockSize));
          auto sum = scf::ForOp::create(
              l.builder, l.loc, l.index(0), l.index(blockSize), l.index(1),
              ValueRange{l.number32(0)},
              [&](OpBuilder &nested, Location, Value j, ValueRange state) {
                OpBuilder::InsertionGuard guard(l.builder);
                l.builder.restoreInsertionPoint(nested.saveInsertionPoint());
                SmallVector<Value> cell(place);
                cell.push_back(l.add(first, j));
                Value q = l.read(values, cell);
                Value next =
                    l.add(state[0], l.mul(weight.integer(row, block, j), q));
                scf::YieldOp::create(l.builder, l.loc, next);
              });
          Value scaled =
              l.mul(l.toFloat(sum.getResult(0)), weight.scale(row, block));
          Value result = l.fma(scaled, elements[0], elements[2]);
          if (weight.hasMinimum())
            result = l.fma(weight.minimum(row, block), elements[1], result);
          return result;
        });
  }

  /// The parts side by side: column n of the result is one of the first part
  /// that has so many.
  static Value join(LinalgBuilder &l, ArrayRef<Value> parts) {
    if (parts.size() == 1)
      return parts[0];
    unsigned rank = l.rank(parts[0]);
    int64_t columns = 0;
    for (Value part : parts)
      columns += l.width(part);
    Sizes sizes = l.sizes(parts[0]);
    sizes.back() = l.size(columns);
    return l.generic(
        rank, 0, {}, l.empty(sizes, l.f32), l.dims(rank), [&](ValueRange) {
          SmallVector<Value> place;
          for (unsigned i = 0; i < rank; ++i)
            place.push_back(l.loopIndex(i));
          Value column = place.back(), result;
          int64_t first = columns;
          for (Value part : llvm::reverse(parts)) {
            first -= l.width(part);
            // A column of another part reads an end of this one.
            Value inPart = l.maximum(l.sub(column, l.index(first)), l.index(0));
            place.back() = l.minimum(inPart, l.index(l.width(part) - 1));
            Value value = l.read(part, place);
            Value isHere = l.less(column, l.index(first + l.width(part)));
            result = result ? l.select(isHere, value, result) : value;
          }
          return result;
        });
  }

  LogicalResult
  matchAndRewrite(LinearOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    LinalgBuilder l(rewriter, op.getLoc());
    ValueRange input = adaptor.getInput();
    SmallVector<Value> parts, first;
    for (auto [number, weight] : llvm::enumerate(op.getWeights())) {
      if (input.size() == 1) {
        parts.push_back(product(l, input[0], weight));
        continue;
      }
      bool readsAll = op.getTermsOf(number) == op.getInputTerms();
      if (!readsAll && first.empty())
        first = firstTerm(l, input);
      parts.push_back(
          integerProduct(l, readsAll ? input : ValueRange(first), weight));
    }
    Value result = join(l, parts);
    if (op.getResidual())
      result = l.elementwise(
          {result, adaptor.getResidual().front()}, l.f32,
          [&](ValueRange elements) { return l.add(elements[0], elements[1]); });
    rewriter.replaceOp(op, result);
    return success();
  }
};

} // namespace

void chorus::populateLinearPatterns(const TypeConverter &converter,
                                    RewritePatternSet &patterns) {
  patterns.add<Decompose<EmbeddingOp, defineEmbedding>,
               DecomposeQuantizeActivations, DecomposeLinear>(
      converter, patterns.getContext());
}
