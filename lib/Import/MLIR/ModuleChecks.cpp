//===- ModuleChecks.cpp - What MLIR's own verifier lets pass --------------===//

#include "ModuleChecks.h"

#include "TextScan.h"
#include "chorus/Dialect/Transformer/TransformerTypes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"

using namespace chorus;
using namespace mlir;
using rt::Status;

/// Bytes; what a process can address.
static constexpr uint64_t maxTensorBytes = uint64_t(1) << 48;

std::string chorus::placeOf(Location location, StringRef file,
                            StringRef shown) {
  auto found = location->findInstanceOf<FileLineColLoc>();
  // A location in the text may claim to be from another file.
  if (!found || found.getLine() == 0 || found.getFilename().getValue() != file)
    return shown.str();
  return shown.str() + ":" + std::to_string(found.getLine()) + ":" +
         std::to_string(found.getColumn());
}

/// Bits of one element as it is held in memory; an upper bound is enough.
static uint64_t elementBits(Type type) {
  if (auto complex = dyn_cast<ComplexType>(type))
    return 2 * elementBits(complex.getElementType());
  if (type.isIntOrFloat())
    return type.getIntOrFloatBitWidth();
  return 64;
}

/// Empty if the type's static part can be held, else what is wrong.
static std::string checkSize(ShapedType type) {
  if (!type.hasRank())
    return {};
  uint64_t bits = std::max<uint64_t>(elementBits(type.getElementType()), 8);
  for (int64_t dim : type.getShape()) {
    if (ShapedType::isDynamic(dim))
      continue;
    if (dim < 0 ||
        __builtin_mul_overflow(bits, static_cast<uint64_t>(dim), &bits) ||
        bits / 8 > maxTensorBytes) {
      std::string text;
      llvm::raw_string_ostream(text) << type;
      return "type " + rt::escapeForMessage(text, 100) +
             " has more than 2^48 bytes";
    }
  }
  return {};
}

/// Empty if the resource has exactly the data that its type needs.
static std::string checkResource(DenseResourceElementsAttr attribute) {
  std::string name = rt::escapeForMessage(attribute.getRawHandle().getKey());
  AsmResourceBlob *blob = attribute.getRawHandle().getBlob();
  if (!blob)
    return "resource '" + name + "' has no data";
  ShapedType type = attribute.getType();
  if (!type.hasStaticShape() || !type.getElementType().isIntOrFloat())
    return "resource '" + name + "' has no type of fixed size";
  uint64_t bits = type.getElementType().getIntOrFloatBitWidth();
  uint64_t needed =
      static_cast<uint64_t>(type.getNumElements()) * ((bits + 7) / 8);
  if (blob->getData().size() != needed)
    return "resource '" + name + "' has " +
           std::to_string(blob->getData().size()) + " bytes, its type needs " +
           std::to_string(needed);
  return {};
}

/// Whether a graph may be made of such an op.
static bool isAllowed(Operation *op) {
  static const char *const dialects[] = {"transformer", "linalg", "tensor",
                                         "arith",       "math",   "scf"};
  StringRef dialect = op->getName().getDialectNamespace();
  if (llvm::is_contained(dialects, dialect))
    return true;
  if (isa<ModuleOp>(op))
    return !op->getParentOp();
  if (isa<func::FuncOp>(op))
    return isa_and_nonnull<ModuleOp>(op->getParentOp());
  return isa<func::ReturnOp, func::CallOp>(op);
}

/// The first attribute on the op, its arguments or results whose dialect is
/// unknown: MLIR lets those pass.
static std::string unknownAttribute(Operation *op) {
  auto firstUnknown = [](DictionaryAttr attributes) -> std::string {
    if (attributes)
      for (NamedAttribute attribute : attributes)
        if (attribute.getName().getValue().contains('.') &&
            !attribute.getNameDialect())
          return attribute.getName().str();
    return {};
  };
  std::string name = firstUnknown(op->getDiscardableAttrDictionary());
  auto function = dyn_cast<func::FuncOp>(op);
  if (!function)
    return name;
  for (unsigned i = 0; i < function.getNumArguments() && name.empty(); ++i)
    name = firstUnknown(function.getArgAttrDict(i));
  for (unsigned i = 0; i < function.getNumResults() && name.empty(); ++i)
    name = firstUnknown(function.getResultAttrDict(i));
  return name;
}

namespace {

/// Calls among functions, followed without recursion.
class CallGraph {
public:
  explicit CallGraph(ModuleOp module) {
    for (auto function : module.getOps<func::FuncOp>())
      functions.try_emplace(function.getSymNameAttr(), function);
  }

  /// "@a -> @b -> @a", empty if there is no cycle.
  std::string findCycle(func::FuncOp start);

private:
  struct Frame {
    StringAttr name;
    SmallVector<StringAttr> callees;
    size_t next = 0;
  };
  Frame enter(StringAttr name);

  llvm::DenseMap<StringAttr, func::FuncOp> functions;
  llvm::DenseMap<StringAttr, size_t> onPath;
  llvm::DenseSet<StringAttr> finished;
};

CallGraph::Frame CallGraph::enter(StringAttr name) {
  llvm::SetVector<StringAttr> callees;
  if (auto found = functions.find(name); found != functions.end())
    found->second.walk([&](func::CallOp call) {
      callees.insert(call.getCalleeAttr().getAttr());
    });
  return {name, SmallVector<StringAttr>(callees.begin(), callees.end())};
}

std::string CallGraph::findCycle(func::FuncOp start) {
  if (finished.contains(start.getSymNameAttr()))
    return {};
  std::vector<Frame> path = {enter(start.getSymNameAttr())};
  onPath[path.back().name] = 0;
  while (!path.empty()) {
    Frame &frame = path.back();
    if (frame.next == frame.callees.size()) {
      finished.insert(frame.name);
      onPath.erase(frame.name);
      path.pop_back();
      continue;
    }
    StringAttr callee = frame.callees[frame.next++];
    if (auto first = onPath.find(callee); first != onPath.end()) {
      std::string text;
      size_t shown = 0;
      for (size_t i = first->second; i < path.size() && shown < 8; ++i, ++shown)
        text += "@" + rt::escapeForMessage(path[i].name.getValue()) + " -> ";
      if (path.size() - first->second > shown)
        text += ".. -> ";
      return text + "@" + rt::escapeForMessage(callee.getValue());
    }
    if (finished.contains(callee))
      continue;
    size_t depth = path.size();
    path.push_back(enter(callee));
    onPath[callee] = depth;
  }
  return {};
}

} // namespace

Status chorus::checkModule(ModuleOp module, const TextPlace &where) {
  uint64_t count = 0;
  std::string wrongType, wrongResource;
  AttrTypeWalker walker;
  walker.addWalk([&](ShapedType type) {
    wrongType = checkSize(type);
    return wrongType.empty() ? WalkResult::advance() : WalkResult::interrupt();
  });
  walker.addWalk([&](DenseResourceElementsAttr attribute) {
    wrongResource = checkResource(attribute);
    return wrongResource.empty() ? WalkResult::advance()
                                 : WalkResult::interrupt();
  });

  Status first;
  auto visit = [&](Operation *op) -> Status {
    if (++count > maxMLIROperations)
      return rt::limitError("M08", where.of(op->getLoc()),
                            "more than " + std::to_string(maxMLIROperations) +
                                " operations");
    if (!op->isRegistered())
      return rt::refused(
          "M04", where.of(op->getLoc()),
          "unknown operation '" +
              rt::escapeForMessage(op->getName().getStringRef()) + "'");
    if (!isAllowed(op))
      return rt::unsupported(
          where.of(op->getLoc()),
          "operation '" + rt::escapeForMessage(op->getName().getStringRef()) +
              "' is not part of the graph form here");
    if (std::string name = unknownAttribute(op); !name.empty())
      return rt::refused("M04", where.of(op->getLoc()),
                         "attribute '" + rt::escapeForMessage(name) +
                             "' of an unknown dialect");
    bool fits = !walker.walk(op->getAttrDictionary()).wasInterrupted();
    for (Type type : op->getResultTypes())
      fits = fits && !walker.walk(type).wasInterrupted();
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (Type type : block.getArgumentTypes())
          fits = fits && !walker.walk(type).wasInterrupted();
    if (!fits)
      return rt::refused(wrongType.empty() ? "M03" : "M02",
                         where.of(op->getLoc()),
                         wrongType.empty() ? wrongResource : wrongType);
    return {};
  };
  module->walk<WalkOrder::PreOrder>([&](Operation *op) {
    first = visit(op);
    return first.ok() ? WalkResult::advance() : WalkResult::interrupt();
  });
  CHORUS_RETURN_IF_ERROR(first);

  CallGraph calls(module);
  for (auto function : module.getOps<func::FuncOp>())
    if (std::string cycle = calls.findCycle(function); !cycle.empty())
      return rt::refused("M05", where.of(function.getLoc()),
                         "functions call each other in a cycle: " + cycle);
  return {};
}
