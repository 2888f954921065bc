//===- VerifyForm.cpp - The contracts of graph, step and fused form -------===//
//
// Each phase ends here, so that the next may rely on docs/Phases.md without
// checking it again. What an op's own verifier says is not repeated.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"
#include "chorus/Transforms/PositionAnalysis.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace chorus;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_VERIFYFORMPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

//===----------------------------------------------------------------------===//
// Graph form
//===----------------------------------------------------------------------===//

/// Whether `op` divides integers by what may be 0, or -1, by which the least
/// integer overflows: both end the process that runs it.
bool mayTrap(Operation *op) {
  if (!isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp,
           arith::CeilDivSIOp, arith::CeilDivUIOp, arith::FloorDivSIOp>(op))
    return false;
  APInt divisor;
  return !matchPattern(op->getOperand(1), m_ConstantInt(&divisor)) ||
         divisor.isZero() || divisor.isAllOnes();
}

LogicalResult verifyGraphOp(Operation *op) {
  auto isState = [](Type type) { return isa<StateType>(type); };
  if (llvm::any_of(op->getOperandTypes(), isState) ||
      llvm::any_of(op->getResultTypes(), isState))
    return op->emitOpError("uses a state, but the graph form is stateless");
  if (isa<TransformerDialect>(op->getDialect())) {
    if (auto parameter = dyn_cast<ParameterOp>(op);
        parameter && parameter.getLayer())
      return op->emitOpError("picks a layer by an index, but layers of the "
                             "graph form are unrolled");
    return success();
  }
  if (mayTrap(op))
    return op->emitOpError(
        "divides by what is no constant, or by 0 or -1, which may trap");
  StringRef dialect = op->getName().getDialectNamespace();
  if (llvm::is_contained({"func", "arith", "math", "tensor", "linalg"},
                         dialect))
    return success();
  return op->emitOpError("is not part of the graph form, whose dialects are "
                         "transformer, linalg, tensor, arith, math and func");
}

/// Whoever runs a language model checks ids against its vocabulary only.
LogicalResult verifyEmbedding(EmbeddingOp embedding, func::FuncOp model) {
  if (embedding.getTokens() != model.getArgument(0))
    return embedding.emitOpError("expected the model's own tokens");
  int64_t rows =
      cast<RankedTensorType>(embedding.getTable().getType()).getDimSize(0);
  auto logits = cast<RankedTensorType>(model.getResultTypes()[0]);
  int64_t vocabulary = logits.getShape().back();
  if (rows < vocabulary)
    return embedding.emitOpError()
           << "has a table of " << rows << " rows, expected at least the "
           << vocabulary << " of the logits";
  return success();
}

LogicalResult verifyGraph(func::FuncOp function) {
  auto isState = [](Type type) { return isa<StateType>(type); };
  if (llvm::any_of(function.getArgumentTypes(), isState) ||
      llvm::any_of(function.getResultTypes(), isState))
    return function.emitOpError(
        "uses a state, but the graph form is stateless");
  if (function.isExternal())
    return function.emitOpError("has no body");
  WalkResult result =
      function.getBody().walk<WalkOrder::PreOrder>([](Operation *op) {
        return failed(verifyGraphOp(op)) ? WalkResult::interrupt()
                                         : WalkResult::advance();
      });
  if (!result.wasInterrupted() && isLanguageModel(function))
    result = function.walk([&](EmbeddingOp embedding) {
      return failed(verifyEmbedding(embedding, function))
                 ? WalkResult::interrupt()
                 : WalkResult::advance();
    });
  return failure(result.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// Step form and fused form
//===----------------------------------------------------------------------===//

class StepVerifier {
public:
  StepVerifier(func::FuncOp step, bool fused) : step(step), fused(fused) {}

  LogicalResult verify() {
    if (failed(verifySignature()))
      return failure();
    WalkResult result =
        step.getBody().walk<WalkOrder::PreOrder>([&](Operation *op) {
          return failed(verifyOp(op)) ? WalkResult::interrupt()
                                      : WalkResult::advance();
        });
    if (result.wasInterrupted())
      return failure();
    if (static_cast<int64_t>(usedLayers.size()) != getCacheType().getLayers())
      return step.emitOpError()
             << "has a cache of " << getCacheType().getLayers()
             << " layers, of which its attentions use " << usedLayers.size();
    return success();
  }

private:
  LogicalResult verifySignature();
  LogicalResult verifyOp(Operation *op);
  LogicalResult verifyAttention(AttentionOp attention);
  LogicalResult verifyLayer(AttentionOp attention);
  /// `value` in the iteration `loopIndex` of the loop around it.
  std::optional<int64_t> evaluate(Value value, int64_t loopIndex);
  LogicalResult verifyLoop(scf::ForOp loop);

  Value getPositions() { return step.getArgument(1); }
  Value getCache() { return step.getArgument(3); }
  StateType getCacheType() { return cast<StateType>(getCache().getType()); }
  StringRef getFormName() { return fused ? "fused form" : "step form"; }

  func::FuncOp step;
  bool fused;
  llvm::SmallDenseSet<int64_t>
      usedLayers; ///< Of the cache, by the attentions so far.
};

LogicalResult StepVerifier::verifySignature() {
  static constexpr llvm::StringLiteral argumentNames[] = {
      "tokens", "positions", "output_rows", "cache"};
  auto isOneEach = [](Type type, auto isElement) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getRank() == 1 && tensor.isDynamicDim(0) &&
           isElement(tensor.getElementType());
  };
  auto isI32 = [](Type type) { return type.isInteger(32); };
  auto isF32 = [](Type type) { return type.isF32(); };
  FunctionType type = step.getFunctionType();
  if (!step.getBody().hasOneBlock() || type.getNumInputs() != 4 ||
      type.getNumResults() < 2 ||
      type.getNumResults() > std::size(stepResultNames))
    return step.emitOpError("is a step program, expected one block, 4 "
                            "arguments and 2 or 3 results");
  for (unsigned i = 0; i < 3; ++i)
    if (!isOneEach(type.getInput(i), isI32))
      return step.emitOpError()
             << "argument #" << i << " has type " << type.getInput(i)
             << ", expected tensor<?xi32>";
  if (!isa<StateType>(type.getInput(3)))
    return step.emitOpError() << "argument #3 has type " << type.getInput(3)
                              << ", expected a state";
  auto logits = dyn_cast<RankedTensorType>(type.getResult(0));
  if (!logits || logits.getRank() != 2 || !logits.isDynamicDim(0) ||
      logits.isDynamicDim(1) || !isF32(logits.getElementType()))
    return step.emitOpError() << "result #0 has type " << type.getResult(0)
                              << ", expected tensor<?xVxf32>";
  if (!isOneEach(type.getResult(1), isF32))
    return step.emitOpError() << "result #1 has type " << type.getResult(1)
                              << ", expected tensor<?xf32>";
  if (type.getNumResults() == 3) {
    auto value = dyn_cast<RankedTensorType>(type.getResult(2));
    if (!value || value.getRank() != 2 || !value.isDynamicDim(0) ||
        value.getDimSize(1) != 1 || !isF32(value.getElementType()))
      return step.emitOpError() << "result #2 has type " << type.getResult(2)
                                << ", expected tensor<?x1xf32>";
  }
  for (unsigned i = 0; i < 4; ++i)
    if (step.getArgAttrOfType<StringAttr>(i, nameAttrName) !=
        StringAttr::get(step.getContext(), argumentNames[i]))
      return step.emitOpError() << "argument #" << i << " is not named \""
                                << argumentNames[i] << "\"";
  for (unsigned i = 0; i < type.getNumResults(); ++i)
    if (step.getResultAttrOfType<StringAttr>(i, nameAttrName) !=
        StringAttr::get(step.getContext(), stepResultNames[i]))
      return step.emitOpError() << "result #" << i << " is not named \""
                                << stepResultNames[i] << "\"";
  return success();
}

std::optional<int64_t> StepVerifier::evaluate(Value value, int64_t loopIndex) {
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return constant.getSExtValue();
  if (isa<BlockArgument>(value) && fused) {
    auto loop = dyn_cast<scf::ForOp>(value.getParentBlock()->getParentOp());
    if (loop && value == loop.getInductionVar())
      return loopIndex;
  }
  Operation *op = value.getDefiningOp();
  if (!fused || !isa_and_nonnull<arith::AddIOp, arith::MulIOp>(op))
    return std::nullopt;
  std::optional<int64_t> lhs = evaluate(op->getOperand(0), loopIndex);
  std::optional<int64_t> rhs = evaluate(op->getOperand(1), loopIndex);
  if (!lhs || !rhs)
    return std::nullopt;
  return isa<arith::AddIOp>(op) ? *lhs + *rhs : *lhs * *rhs;
}

LogicalResult StepVerifier::verifyLayer(AttentionOp attention) {
  int64_t iterations = 1;
  if (auto loop = dyn_cast<scf::ForOp>(attention->getParentOp()))
    iterations = getConstantIntValue(loop.getUpperBound()).value_or(1);
  for (int64_t i = 0; i < iterations; ++i) {
    std::optional<int64_t> layer = evaluate(attention.getLayer(), i);
    if (!layer)
      return attention.emitOpError()
             << "expected a layer that is a constant"
             << (fused ? " or affine in the index of the loop around it" : "");
    if (*layer < 0 || *layer >= getCacheType().getLayers())
      return attention.emitOpError()
             << "uses layer " << *layer << " of a cache of "
             << getCacheType().getLayers();
    if (!usedLayers.insert(*layer).second)
      return attention.emitOpError()
             << "uses layer " << *layer << ", as another attention does";
  }
  return success();
}

LogicalResult StepVerifier::verifyAttention(AttentionOp attention) {
  if (attention.getCache() != getCache() ||
      attention.getPositions() != getPositions())
    return attention.emitOpError(
        "expected the cache and the positions of the step program");
  StateType cache = getCacheType();
  if (failed(verifyLayer(attention)))
    return failure();
  if (cache.getElementType().isF32())
    return success();
  for (Value operand : {attention.getKey(), attention.getValue()}) {
    auto rounded = operand.getDefiningOp<RoundToCacheOp>();
    if (!rounded || rounded.getCacheType() != cache.getElementType())
      return attention.emitOpError()
             << "expected keys and values rounded to " << cache.getElementType()
             << ", the type of the cache; run -chorus-round-keys-and-values "
                "first";
  }
  return success();
}

LogicalResult StepVerifier::verifyLoop(scf::ForOp loop) {
  if (!fused)
    return loop.emitOpError("is not part of the step form");
  if (loop->getParentOp() != step)
    return loop.emitOpError("expected a loop over layers that is in no other");
  APInt lower, upper, stride;
  if (!matchPattern(loop.getLowerBound(), m_ConstantInt(&lower)) ||
      !matchPattern(loop.getUpperBound(), m_ConstantInt(&upper)) ||
      !matchPattern(loop.getStep(), m_ConstantInt(&stride)) ||
      !lower.isZero() || !stride.isOne() || !upper.isStrictlyPositive())
    return loop.emitOpError("expected constant bounds from 0 in steps of 1");
  for (auto parameter : loop.getOps<ParameterOp>())
    if (parameter.getLayer() &&
        (parameter.getLayer() != loop.getInductionVar() ||
         static_cast<int64_t>(parameter.getNames().size()) !=
             upper.getSExtValue()))
      return parameter.emitOpError()
             << "expected " << upper.getSExtValue()
             << " names, picked by the index of the loop around it";
  return success();
}

LogicalResult StepVerifier::verifyOp(Operation *op) {
  auto refuse = [&]() -> LogicalResult {
    return op->emitOpError() << "is not part of the " << getFormName();
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<RotaryTableOp, EmbeddingOp, RMSNormOp, QuantizeActivationsOp,
            LinearOp, GLUOp, RoundToCacheOp, SelectRowsOp, LogSumExpOp,
            func::ReturnOp>([](auto) { return success(); })
      .Case([&](ParameterOp parameter) -> LogicalResult {
        bool inLoop = isa<scf::ForOp>(op->getParentOp());
        if (parameter.getLayer() && !inLoop)
          return parameter.emitOpError(
              "picks a layer by an index outside a loop over layers");
        return success();
      })
      .Case([&](RotaryOp rotary) -> LogicalResult {
        if (rotary.getPositions() != getPositions())
          return rotary.emitOpError(
              "expected the positions of the step program");
        return success();
      })
      .Case([&](AttentionOp attention) { return verifyAttention(attention); })
      .Case([&](tensor::DimOp) { return success(); })
      .Case([&](tensor::ExtractSliceOp slice) -> LogicalResult {
        if (slice.getType().getRank() != 2 || !isColumnSlice(slice, 1))
          return slice.emitOpError("expected columns with static bounds of "
                                   "[T, d] rows");
        return success();
      })
      .Case([&](scf::ForOp loop) { return verifyLoop(loop); })
      .Case([&](scf::YieldOp) { return fused ? success() : refuse(); })
      .Default([&](Operation *) {
        StringRef dialect = op->getName().getDialectNamespace();
        bool isScalarIndex =
            isa<arith::ConstantOp, arith::AddIOp, arith::MulIOp>(op) &&
            op->getResult(0).getType().isIndex();
        bool isElementwise = llvm::is_contained({"arith", "math"}, dialect) &&
                             OpTrait::hasElementwiseMappableTraits(op) &&
                             isa<RankedTensorType>(op->getResult(0).getType());
        bool isConstant = isa<arith::ConstantOp>(op);
        return isScalarIndex || isElementwise || isConstant ? success()
                                                            : refuse();
      });
}

struct VerifyFormPass : chorus::impl::VerifyFormPassBase<VerifyFormPass> {
  using VerifyFormPassBase::VerifyFormPassBase;

  void runOnOperation() override {
    for (Operation &op : getOperation().getOps()) {
      auto function = dyn_cast<func::FuncOp>(op);
      if (!function) {
        op.emitOpError("is not part of a model, which consists of functions");
        return signalPassFailure();
      }
      bool isStep = form != Form::Graph && isStepFunction(function);
      if (failed(isStep ? StepVerifier(function, form == Form::Fused).verify()
                        : verifyGraph(function)))
        return signalPassFailure();
    }
    markAllAnalysesPreserved();
  }
};

} // namespace
