//===- RollLayers.cpp - Repeated layers become loops ----------------------===//
//
// Code size and compile time then do not grow with depth. Layers are found by
// structure: nothing here knows what a layer is, which ops it has or how its
// parameters are named.
//
// Ops without operands that carry data in (parameters, constants, rotary
// tables) are leaves: they are not part of the sequence that is searched, and
// each use of a leaf is compared by what it is. Values whose periods differ by
// more than one, or that are read after the loop without being carried to the
// next period, end a repetition.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"
#include "chorus/Transforms/Repetitions.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

#include <map>
#include <tuple>

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_ROLLLAYERSPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// What a loop itself costs: its bounds, the loop and its yield. A repetition
/// that saves no more stays as it is.
constexpr size_t loopOps = 5;

bool isLeaf(Operation *op) {
  if (auto parameter = dyn_cast<ParameterOp>(op))
    return !parameter.getLayer();
  return isa<RotaryTableOp>(op) || op->hasTrait<OpTrait::ConstantLike>();
}

/// The constant layer of an attention, if `operand` is one.
std::optional<int64_t> getLayerConstant(OpOperand &operand) {
  auto attention = dyn_cast<AttentionOp>(operand.getOwner());
  APInt layer;
  if (attention && attention.getLayer() &&
      operand.getOperandNumber() ==
          attention.getLayerMutable()[0].getOperandNumber() &&
      matchPattern(operand.get(), m_ConstantInt(&layer)))
    return layer.getSExtValue();
  return std::nullopt;
}

/// Numbers things by what they are. Keys are uniqued pointers and numbers, so
/// that equal keys mean equal things; numbers follow the first appearance.
class Numbering {
public:
  using Key = std::vector<uintptr_t>;
  unsigned get(Key key) {
    return numbers.try_emplace(std::move(key), numbers.size()).first->second;
  }

private:
  std::map<Key, unsigned> numbers;
};

template <typename T> uintptr_t toKey(T uniqued) {
  return reinterpret_cast<uintptr_t>(uniqued.getAsOpaquePointer());
}

/// A stretch of `count` equal periods of `period` ops from op `begin` on.
struct Roll {
  size_t begin, period, count;
  /// (offset in the period, result number) of what the next period reads.
  SmallVector<std::pair<size_t, unsigned>> carried;

  size_t end() const { return begin + period * count; }
  size_t saving() const { return period * (count - 1); }
};

/// The straight-line ops of a block without its leaves, and how they are
/// connected.
class Sequence {
public:
  explicit Sequence(Block &block);

  size_t size() const { return ops.size(); }

  /// The repetitions worth rolling, none overlapping another, by position.
  std::vector<Roll> plan() const;

  /// Replaces `roll` by a loop. Indices of other ops stay valid.
  void replace(const Roll &roll);

private:
  /// Where an operand comes from: an op of the sequence, or else outside.
  struct Source {
    ptrdiff_t index;
    unsigned result;
    bool operator==(const Source &other) const {
      return index == other.index && result == other.result;
    }
  };
  static constexpr ptrdiff_t outside = -1;

  unsigned number(Operation *op);
  unsigned numberLeaf(Operation *op);
  Source getSource(Value value) const;
  ArrayRef<Source> getSources(size_t op) const {
    return ArrayRef(sources).slice(firstSource[op], ops[op]->getNumOperands());
  }

  /// The longest roll with exactly this begin and period inside [begin, end),
  /// none if not even two periods match.
  std::optional<Roll> match(size_t begin, size_t period, size_t end) const;
  std::optional<SmallVector<std::pair<size_t, unsigned>>>
  matchFirstPeriod(size_t begin, size_t period) const;
  bool matchesNextPeriod(size_t op, size_t begin, size_t period,
                         int64_t attentions) const;
  size_t limitByUses(const Roll &roll) const;
  std::vector<Roll> findRolls(size_t begin, size_t end) const;

  /// A parameter of the loop's body that stands for one of each period.
  Value rollParameter(const Roll &roll, size_t offset, unsigned operand,
                      OpBuilder &body, Value index, scf::ForOp loop,
                      DenseMap<Attribute, Value> &rolled) const;

  SmallVector<Operation *> ops;
  SmallVector<unsigned> numbers;
  SmallVector<size_t> firstSource;
  SmallVector<Source> sources;
  /// The last op that reads a result of each op; ops.size() is the terminator.
  SmallVector<size_t> lastUse;
  DenseMap<Operation *, size_t> indices;
  Numbering opNumbering, leafNumbering;
};

} // namespace

//===----------------------------------------------------------------------===//
// What the ops are
//===----------------------------------------------------------------------===//

Sequence::Sequence(Block &block) {
  for (Operation &op : block.without_terminator())
    if (!isLeaf(&op)) {
      indices[&op] = ops.size();
      ops.push_back(&op);
    }
  for (Operation *op : ops) {
    numbers.push_back(number(op));
    firstSource.push_back(sources.size());
    for (Value operand : op->getOperands())
      sources.push_back(getSource(operand));
    size_t last = indices.at(op);
    for (Operation *user : op->getUsers()) {
      auto it = indices.find(block.findAncestorOpInBlock(*user));
      last = std::max(last, it == indices.end() ? ops.size() : it->second);
    }
    lastUse.push_back(last);
  }
}

Sequence::Source Sequence::getSource(Value value) const {
  auto it = indices.find(value.getDefiningOp());
  if (it == indices.end())
    return {outside, 0};
  return {static_cast<ptrdiff_t>(it->second),
          cast<OpResult>(value).getResultNumber()};
}

/// Equal leaves have equal numbers; so have parameters that differ by name.
unsigned Sequence::numberLeaf(Operation *op) {
  Numbering::Key key{toKey(op->getName()), toKey(op->getResult(0).getType())};
  if (auto parameter = dyn_cast<ParameterOp>(op)) {
    key.push_back(toKey(parameter.getFileAttr()));
    key.push_back(toKey(op->getDiscardableAttrDictionary()));
    return leafNumbering.get(std::move(key));
  }
  key.push_back(toKey(op->getAttrDictionary()));
  for (Value operand : op->getOperands()) {
    key.push_back(toKey(operand.getType()));
    if (auto factors = operand.getDefiningOp<ParameterOp>()) {
      key.push_back(toKey(factors.getFileAttr()));
      key.push_back(toKey(factors.getNamesAttr()));
    } else {
      key.push_back(toKey(operand));
    }
  }
  return leafNumbering.get(std::move(key));
}

/// Ops have equal numbers if they differ at most by the names of their
/// parameters, their layer, and where their operands come from. Ops with
/// regions equal no other.
unsigned Sequence::number(Operation *op) {
  enum : uintptr_t { Layer, Leaf, Computed, Argument };
  Numbering::Key key{toKey(op->getName()), toKey(op->getAttrDictionary())};
  if (op->getNumRegions() || op->getNumSuccessors())
    key.push_back(reinterpret_cast<uintptr_t>(op));
  for (Type type : op->getResultTypes())
    key.push_back(toKey(type));
  for (OpOperand &operand : op->getOpOperands()) {
    Operation *definition = operand.get().getDefiningOp();
    if (getLayerConstant(operand))
      key.insert(key.end(), {Layer, 0});
    else if (!definition)
      key.insert(key.end(), {Argument, toKey(operand.get())});
    else if (isLeaf(definition))
      key.insert(key.end(), {Leaf, numberLeaf(definition)});
    else
      key.insert(key.end(), {Computed, toKey(operand.get().getType())});
  }
  return opNumbering.get(std::move(key));
}

//===----------------------------------------------------------------------===//
// Where they repeat
//===----------------------------------------------------------------------===//

/// Whether the ops of the first two periods are connected alike, where the
/// first may read initial values of what the second reads from the first.
/// Yields those values.
std::optional<SmallVector<std::pair<size_t, unsigned>>>
Sequence::matchFirstPeriod(size_t begin, size_t period) const {
  const auto first = static_cast<ptrdiff_t>(begin);
  const auto second = static_cast<ptrdiff_t>(begin + period);
  llvm::MapVector<std::pair<size_t, unsigned>, Value> initial;
  for (size_t op = begin; op < begin + period; ++op) {
    if (numbers[op] != numbers[op + period])
      return std::nullopt;
    for (auto [index, from, to] :
         llvm::enumerate(getSources(op), getSources(op + period))) {
      if (from.index >= first) {
        // Computed in this period: so must the other be in its own.
        if (to.index != from.index + static_cast<ptrdiff_t>(period) ||
            to.result != from.result)
          return std::nullopt;
      } else if (to.index >= second) {
        return std::nullopt;
      } else if (to.index >= first) {
        Value value = ops[op]->getOperand(index);
        auto [it, isNew] = initial.try_emplace(
            {static_cast<size_t>(to.index - first), to.result}, value);
        if (!isNew && it->second != value)
          return std::nullopt;
      } else if (!(from == to)) {
        return std::nullopt;
      }
    }
  }
  // Without a carried value nothing after the loop could read from it.
  if (initial.empty())
    return std::nullopt;
  auto carried = llvm::to_vector(llvm::make_first_range(initial));
  llvm::sort(carried);
  return carried;
}

/// Whether op + period is to op as every later period is to the one before.
bool Sequence::matchesNextPeriod(size_t op, size_t begin, size_t period,
                                 int64_t attentions) const {
  if (numbers[op] != numbers[op + period])
    return false;
  const size_t periodBegin = begin + (op - begin) / period * period;
  for (auto [index, from, to] :
       llvm::enumerate(getSources(op), getSources(op + period))) {
    if (to.index < static_cast<ptrdiff_t>(begin)) {
      if (op >= begin + period && !(from == to))
        return false;
    } else if (op >= begin + period) {
      // Same or previous period, and the same place in it.
      if (to.index < static_cast<ptrdiff_t>(periodBegin) ||
          from.index + static_cast<ptrdiff_t>(period) != to.index ||
          from.result != to.result)
        return false;
    }
    std::optional<int64_t> layer =
        getLayerConstant(ops[op]->getOpOperand(index));
    if (layer && getLayerConstant(ops[op + period]->getOpOperand(index)) !=
                     std::optional(*layer + attentions))
      return false;
  }
  return true;
}

/// The most periods of `roll` whose values are read only where a loop offers
/// them: in their own and the next period, and after the loop those of the last
/// period that are carried.
size_t Sequence::limitByUses(const Roll &roll) const {
  for (size_t count = 1; count < roll.count; ++count) {
    size_t periodBegin = roll.begin + (count - 1) * roll.period;
    for (size_t op = periodBegin; op < periodBegin + roll.period; ++op)
      if (lastUse[op] >= periodBegin + 2 * roll.period)
        return limitByUses({roll.begin, roll.period, count, roll.carried});
  }
  size_t lastBegin = roll.end() - roll.period;
  for (size_t op = lastBegin; op < roll.end(); ++op) {
    if (lastUse[op] < roll.end())
      continue;
    for (OpResult result : ops[op]->getResults()) {
      bool isCarried = llvm::is_contained(
          roll.carried, std::pair(op - lastBegin, result.getResultNumber()));
      bool isReadAfter = llvm::any_of(result.getUsers(), [&](Operation *user) {
        auto it = indices.find(
            result.getOwner()->getBlock()->findAncestorOpInBlock(*user));
        return it == indices.end() || it->second >= roll.end();
      });
      // What the period before yields is read in this one: it is carried.
      if (isReadAfter && !isCarried)
        return roll.count - 1;
    }
  }
  return roll.count;
}

std::optional<Roll> Sequence::match(size_t begin, size_t period,
                                    size_t end) const {
  auto carried = matchFirstPeriod(begin, period);
  if (!carried)
    return std::nullopt;
  int64_t attentions = 0;
  for (size_t op = begin; op < begin + period; ++op)
    attentions += isa<AttentionOp>(ops[op]);
  size_t op = begin;
  while (op + period < end && matchesNextPeriod(op, begin, period, attentions))
    ++op;
  Roll roll{begin, period, (op - begin) / period + 1, std::move(*carried)};
  roll.count = limitByUses(roll);
  if (roll.count < 2 || roll.saving() <= loopOps)
    return std::nullopt;
  return roll;
}

std::vector<Roll> Sequence::findRolls(size_t begin, size_t end) const {
  std::vector<Roll> rolls;
  for (const chorus::Repetition &repetition :
       chorus::findRepetitions(ArrayRef(numbers).slice(begin, end - begin))) {
    const size_t period = repetition.period;
    const size_t stop = begin + repetition.end;
    // Of the ways to cut a repetition into periods take the one with the most
    // periods, then the fewest values carried between them, then the first.
    for (size_t start = begin + repetition.begin; start + 2 * period <= stop;) {
      std::optional<Roll> best;
      for (size_t shift = 0;
           shift < period && start + shift + 2 * period <= stop; ++shift) {
        std::optional<Roll> roll = match(start + shift, period, stop);
        if (roll && (!best || std::pair(roll->count, best->carried.size()) >
                                  std::pair(best->count, roll->carried.size())))
          best = std::move(roll);
        // No later cut can have more periods or carry less.
        if (best && best->carried.size() <= 1 &&
            best->count >= (stop - start - shift) / period)
          break;
      }
      start = best ? best->end() : start + period;
      if (best)
        rolls.push_back(std::move(*best));
    }
  }
  return rolls;
}

std::vector<Roll> Sequence::plan() const {
  std::map<size_t, Roll> chosen; // by begin
  SmallVector<std::pair<size_t, size_t>> rest{{0, size()}};
  while (!rest.empty()) {
    auto [begin, end] = rest.pop_back_val();
    std::vector<Roll> rolls = findRolls(begin, end);
    llvm::sort(rolls, [](const Roll &a, const Roll &b) {
      return std::tuple(b.saving(), a.period, a.begin) <
             std::tuple(a.saving(), b.period, b.begin);
    });
    std::map<size_t, size_t> taken; // begin to end
    for (Roll &roll : rolls) {
      auto next = taken.lower_bound(roll.begin);
      if ((next != taken.end() && next->first < roll.end()) ||
          (next != taken.begin() && std::prev(next)->second > roll.begin))
        continue;
      taken[roll.begin] = roll.end();
      chosen.try_emplace(roll.begin, std::move(roll));
    }
    if (taken.empty())
      continue;
    size_t gap = begin;
    for (auto [takenBegin, takenEnd] : taken) {
      rest.push_back({gap, takenBegin});
      gap = takenEnd;
    }
    rest.push_back({gap, end});
  }
  std::vector<Roll> rolls;
  rolls.reserve(chosen.size());
  for (auto &[begin, roll] : chosen)
    rolls.push_back(std::move(roll));
  return rolls;
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

Value Sequence::rollParameter(const Roll &roll, size_t offset, unsigned operand,
                              OpBuilder &body, Value index, scf::ForOp loop,
                              DenseMap<Attribute, Value> &rolled) const {
  SmallVector<Attribute> names;
  ParameterOp parameter;
  for (size_t op = roll.begin + offset; op < roll.end(); op += roll.period) {
    auto one = ops[op]->getOperand(operand).getDefiningOp<ParameterOp>();
    if (!parameter)
      parameter = one;
    names.push_back(one.getNames()[0]);
  }
  Value &result = rolled[body.getArrayAttr(names)];
  if (!result) {
    if (llvm::all_equal(names)) {
      OpBuilder before(loop);
      result = before.clone(*parameter)->getResult(0);
    } else {
      auto clone = cast<ParameterOp>(body.clone(*parameter));
      clone.setNamesAttr(body.getArrayAttr(names));
      clone.getLayerMutable().assign(index);
      result = clone;
    }
  }
  return result;
}

void Sequence::replace(const Roll &roll) {
  Operation **first = &ops[roll.begin];
  Operation **second =
      first + roll.period; // Reads carried values as all later.
  const auto firstIndex = static_cast<ptrdiff_t>(roll.begin);
  OpBuilder builder(*first);
  Location loc = (*first)->getLoc();

  // The first period reads the initial value where the second reads the first.
  DenseMap<Value, Value> initial;
  for (size_t offset = 0; offset < roll.period; ++offset)
    for (auto [from, to, source] :
         llvm::zip(first[offset]->getOperands(), second[offset]->getOperands(),
                   getSources(roll.begin + roll.period + offset)))
      if (source.index >= firstIndex &&
          source.index < firstIndex + static_cast<ptrdiff_t>(roll.period))
        initial[to] = from;
  auto getCarried = [&](Operation **period) {
    return llvm::map_to_vector(roll.carried, [&](auto place) -> Value {
      return period[place.first]->getResult(place.second);
    });
  };
  SmallVector<Value> carried = getCarried(first);
  SmallVector<Value> initialValues = llvm::map_to_vector(
      carried, [&](Value value) { return initial.at(value); });

  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(builder, loc, value);
  };
  Value zero = constant(0), count = constant(roll.count), one = constant(1);
  auto loop = scf::ForOp::create(builder, loc, zero, count, one, initialValues);
  builder.setInsertionPoint(loop);
  Value index = loop.getInductionVar();
  OpBuilder body = OpBuilder::atBlockEnd(loop.getBody());
  IRMapping mapping;
  mapping.map(carried, loop.getRegionIterArgs());

  int64_t attentions =
      llvm::count_if(ArrayRef(first, roll.period),
                     [](Operation *op) { return isa<AttentionOp>(op); });
  Value firstLayer;
  auto rollLayer = [&](int64_t layer) {
    if (!firstLayer)
      firstLayer =
          attentions == 1
              ? index
              : arith::MulIOp::create(body, loc, index, constant(attentions));
    return layer == 0
               ? firstLayer
               : arith::AddIOp::create(body, loc, firstLayer, constant(layer));
  };

  DenseMap<Attribute, Value> parameters;
  for (size_t offset = 0; offset < roll.period; ++offset) {
    Operation *op = second[offset];
    SmallVector<Value> operands;
    for (OpOperand &operand : op->getOpOperands()) {
      unsigned number = operand.getOperandNumber();
      if (operand.get().getDefiningOp<ParameterOp>() &&
          isLeaf(operand.get().getDefiningOp()))
        operands.push_back(
            rollParameter(roll, offset, number, body, index, loop, parameters));
      else if (auto layer =
                   getLayerConstant(first[offset]->getOpOperand(number)))
        operands.push_back(rollLayer(*layer));
      else
        operands.push_back(mapping.lookupOrDefault(operand.get()));
    }
    Operation *clone = body.clone(*op, mapping);
    clone->setOperands(operands);
    clone->setLoc(first[offset]->getLoc());
  }
  scf::YieldOp::create(
      body, loc, llvm::map_to_vector(getCarried(second), [&](Value value) {
        return mapping.lookup(value);
      }));

  Operation **last = first + (roll.count - 1) * roll.period;
  for (auto [value, result] : llvm::zip(getCarried(last), loop.getResults()))
    value.replaceAllUsesWith(result);
  for (size_t op = roll.end(); op-- > roll.begin;)
    ops[op]->erase();
}

namespace {

struct RollLayersPass : chorus::impl::RollLayersPassBase<RollLayersPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (!chorus::isStepFunction(function) || !function.getBody().hasOneBlock())
      return;
    Block &block = function.front();
    hoistLeaves(block);
    Sequence sequence(block);
    for (const Roll &roll : sequence.plan())
      sequence.replace(roll);
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
      if (isLeaf(&op) && op.use_empty())
        op.erase();
  }

  /// Moves to the front what a loop may read from before it.
  static void hoistLeaves(Block &block) {
    llvm::SetVector<Operation *> leaves;
    for (Operation &op : block) {
      if (!isLeaf(&op) || isa<ParameterOp>(op))
        continue;
      for (Value operand : op.getOperands())
        if (Operation *factors = operand.getDefiningOp())
          leaves.insert(factors);
      leaves.insert(&op);
    }
    for (Operation *leaf : llvm::reverse(leaves))
      leaf->moveBefore(&block, block.begin());
  }
};

} // namespace
