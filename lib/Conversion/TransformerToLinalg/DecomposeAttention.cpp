//===- DecomposeAttention.cpp - Definitions of attention and its inputs ---===//

#include "LinalgBuilder.h"
#include "Patterns.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <limits>

using namespace mlir;
using namespace chorus;
using namespace chorus::transformer;

namespace {

Value defineRotary(LinalgBuilder &l, RotaryOp op, RotaryOp::Adaptor adaptor) {
  Value input = adaptor.getInput(), table = adaptor.getTable();
  unsigned rank = l.rank(input);
  auto headDim = static_cast<int64_t>(op.getHeadDim());
  int64_t pairs = l.type(table).getDimSize(1);
  bool adjacent = op.getPairing() == RotaryPairing::adjacent;

  auto body = [&](ValueRange elements) -> Value {
    SmallVector<Value> place;
    for (unsigned i = 0; i < rank; ++i)
      place.push_back(l.loopIndex(i));
    Value position = op.getPositions()
                         ? l.toIndex(l.read(adaptor.getPositions(), {place[0]}))
                         : place[rank - 2];
    Value channel = place.back(), inHead = l.rem(channel, headDim);
    // Channels from 2 * pairs on are kept; they read the first pair so that
    // no index is out of range.
    Value rotated = l.less(inHead, l.index(2 * pairs));
    Value c = l.select(rotated, inHead, l.index(0));
    Value pair = adjacent ? l.div(c, 2) : l.rem(c, pairs);
    Value isFirst =
        l.less(adjacent ? l.rem(c, 2) : l.div(c, pairs), l.index(1));
    int64_t distance = adjacent ? 1 : pairs;
    Value head = l.sub(channel, inHead);
    Value other = l.select(isFirst, l.add(c, l.index(distance)),
                           l.sub(c, l.index(distance)));
    place.back() = l.add(head, other);
    Value partner = l.read(input, place);
    Value cos = l.read(table, {position, pair, l.index(0)});
    Value sin = l.read(table, {position, pair, l.index(1)});
    // a' = fma(a, cos, -(b * sin)), b' = fma(b, cos, a * sin)
    Value cross = l.mul(partner, sin);
    cross = l.select(isFirst, l.negate(cross), cross);
    return l.select(rotated, l.fma(elements[0], cos, cross), elements[0]);
  };
  return l.elementwise({input}, l.f32, body);
}

Value defineRoundToCache(LinalgBuilder &l, RoundToCacheOp op,
                         RoundToCacheOp::Adaptor adaptor) {
  if (op.getCacheType().isF32())
    return adaptor.getInput();
  return l.elementwise({adaptor.getInput()}, l.f32, [&](ValueRange x) {
    Value clamped =
        l.minimum(l.number(65504), l.maximum(l.number(-65504), x[0]));
    return l.widen(
        arith::TruncFOp::create(l.builder, l.loc, op.getCacheType(), clamped));
  });
}

/// [batch, seq, heads * head_dim] to [batch, heads, seq, head_dim]
Value split(LinalgBuilder &l, Value input, int64_t headDim,
            LinalgBuilder::Body body) {
  Sizes in = l.sizes(input);
  Sizes sizes = {in[0], l.size(l.width(input) / headDim), in[1],
                 l.size(headDim)};
  AffineExprs at = {l.dim(0), l.dim(2), l.dim(1) * headDim + l.dim(3)};
  return l.generic(4, 0, {{input, at}}, l.empty(sizes, l.f32), l.dims(4), body);
}

Value defineAttention(LinalgBuilder &l, AttentionOp op,
                      AttentionOp::Adaptor adaptor) {
  int64_t headDim = op.getHeadDim();
  auto heads = static_cast<int64_t>(op.getNumHeads());
  int64_t group = heads / static_cast<int64_t>(op.getNumKvHeads());
  bool causal = op.getMask() == AttentionMask::causal;
  auto scaleValue = static_cast<float>(op.getScale().convertToDouble());
  auto keep = [](ValueRange elements) { return elements[0]; };
  Value query = split(l, adaptor.getQuery(), headDim, [&](ValueRange x) {
    return l.mul(x[0], l.number(scaleValue));
  });
  Value key = split(l, adaptor.getKey(), headDim, keep);
  Value value = split(l, adaptor.getValue(), headDim, keep);

  Sizes rows = l.sizes(query); // [batch, heads, seq, head_dim]
  Sizes perRow = {rows[0], rows[1], rows[2]};
  Sizes perPair = {rows[0], rows[1], rows[2], rows[2]};
  // Loops: batch, head, row i, then position j, or channel c.
  AffineExprs row = l.dims(3), pair = l.dims(4);
  AffineExpr kvHead = l.dim(1).floorDiv(group);
  auto visible = [&](Value yes, Value no) {
    if (!causal)
      return yes;
    Value hidden = l.less(l.loopIndex(2), l.loopIndex(3));
    return l.select(hidden, no, yes);
  };
  Value minusInfinity = l.number(-std::numeric_limits<float>::infinity());
  Value zero = l.number(0);

  Value scores =
      l.generic(5, 1,
                {{query, {l.dim(0), l.dim(1), l.dim(2), l.dim(4)}},
                 {key, {l.dim(0), kvHead, l.dim(3), l.dim(4)}}},
                l.filled(perPair, zero), pair, [&](ValueRange elements) {
                  return l.fma(elements[0], elements[1], elements[2]);
                });
  Value largest = l.generic(
      4, 1, {{scores, pair}}, l.filled(perRow, minusInfinity), row,
      [&](ValueRange elements) {
        return l.maximum(visible(elements[0], elements[1]), elements[1]);
      });
  Value masses = l.generic(
      4, 0, {{scores, pair}, {largest, row}}, l.empty(perPair, l.f32), pair,
      [&](ValueRange elements) {
        return visible(l.exp(l.sub(elements[0], elements[1])), l.number(0));
      });
  Value sums = l.generic(
      4, 1, {{masses, pair}}, l.filled(perRow, zero), row,
      [&](ValueRange elements) { return l.add(elements[1], elements[0]); });
  Value weighted =
      l.generic(5, 1,
                {{masses, {l.dim(0), l.dim(1), l.dim(2), l.dim(4)}},
                 {value, {l.dim(0), kvHead, l.dim(4), l.dim(3)}}},
                l.filled(rows, zero), pair, [&](ValueRange elements) {
                  Value next = l.fma(elements[0], elements[1], elements[2]);
                  if (!causal)
                    return next;
                  // A hidden infinity or NaN must not count.
                  Value hidden = l.less(l.loopIndex(2), l.loopIndex(4));
                  return l.select(hidden, elements[2], next);
                });

  // Back to [batch, seq, heads * head_dim].
  AffineExpr head = l.dim(2).floorDiv(headDim);
  return l.generic(
      3, 0,
      {{weighted, {l.dim(0), head, l.dim(1), l.dim(2) % headDim}},
       {sums, {l.dim(0), head, l.dim(1)}}},
      l.empty(l.sizes(adaptor.getQuery()), l.f32), l.dims(3),
      [&](ValueRange elements) { return l.div(elements[0], elements[1]); });
}

} // namespace

void chorus::populateAttentionPatterns(const TypeConverter &converter,
                                       RewritePatternSet &patterns) {
  patterns.add<Decompose<RotaryOp, defineRotary>,
               Decompose<RoundToCacheOp, defineRoundToCache>,
               Decompose<AttentionOp, defineAttention>>(converter,
                                                        patterns.getContext());
}
