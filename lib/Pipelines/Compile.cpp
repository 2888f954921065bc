//===- Compile.cpp - An imported model to an artifact ---------------------===//

#include "chorus/Pipelines/Compile.h"

#include "chorus/Conversion/TransformerToKernels/TransformerToKernels.h"
#include "chorus/Package/PackWeights.h"
#include "chorus/Target/CPU/EmitObject.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus_rt/step_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace chorus {

namespace {

/// Turns MLIR's diagnostics into a Status: the first error, with its place.
class DiagnosticStatus {
public:
  explicit DiagnosticStatus(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() != DiagnosticSeverity::Error ||
              !message.empty())
            return success();
          message = diagnostic.str();
          place = describe(diagnostic.getLocation());
          return success();
        }) {}

  rt::Status status() const {
    if (message.empty())
      return rt::unsupported("", "the compiler stopped without a message");
    return rt::unsupported(rt::escapeForMessage(place, 128),
                           rt::escapeForMessage(message, 300));
  }

  /// The value of `result`, or what the diagnostics say.
  template <typename T> rt::StatusOr<T> valueOf(FailureOr<T> result) const {
    if (failed(result)) // Which the linter does not know.
      return status();
    return std::move(*result); // NOLINT(*optional-access)
  }

private:
  /// The file's line, or the tensor for which an importer made the op.
  static std::string describe(Location location) {
    if (auto at = location->findInstanceOf<FileLineColLoc>())
      return at.getFilename().str() + ":" + std::to_string(at.getLine()) + ":" +
             std::to_string(at.getColumn());
    if (auto name = location->findInstanceOf<NameLoc>())
      return name.getName().str();
    return {};
  }

  std::string message, place;
  ScopedDiagnosticHandler handler;
};

void loadDialects(MLIRContext &context) {
  context.loadDialect<arith::ArithDialect, cf::ControlFlowDialect,
                      linalg::LinalgDialect, LLVM::LLVMDialect,
                      math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                      tensor::TensorDialect, vector::VectorDialect>();
}

/// Adds the phases from the graph form to `last`.
void addPhases(PassManager &manager, const CompileOptions &options,
               Phase last) {
  for (int phase = 0; phase <= static_cast<int>(last); ++phase)
    addPhase(manager, static_cast<Phase>(phase), options.numeric);
}

/// Brings a model to what lowerToKernels takes.
LogicalResult prepareKernels(ModuleOp module, const CompileOptions &options) {
  PassManager manager(module.getContext());
  if (options.reference) {
    addPhases(manager, options, Phase::Raised);
    addReference(manager);
  } else {
    addPhases(manager, options, Phase::Fused);
    addKernelPreparation(manager);
  }
  return manager.run(module);
}

/// The variants of code to make. Loops of the reference gain nothing by a
/// higher level: the lowest one serves all CPUs.
ArrayRef<CPUTarget> targetsOf(const CompileOptions &options) {
  return options.reference ? getCPUTargets().take_front() : getCPUTargets();
}

artifact::DType dtypeOf(Type type) {
  if (type.isF32())
    return artifact::DType::F32;
  if (type.isF16())
    return artifact::DType::F16;
  if (type.isBF16())
    return artifact::DType::BF16;
  if (type.isF64())
    return artifact::DType::F64;
  if (type.isInteger(1))
    return artifact::DType::Bool;
  if (type.isInteger(8))
    return type.isUnsignedInteger() ? artifact::DType::U8 : artifact::DType::I8;
  return type.isInteger(64) ? artifact::DType::I64 : artifact::DType::I32;
}

std::string numericProfile(const CompileOptions &options) {
  std::string profile = options.reference ? "reference1" : "cpu2";
  profile += options.numeric.activations == Activations::Int8 ? ";act=int8,v=16"
                                                              : ";act=f32";
  profile +=
      options.numeric.cacheType == CacheType::F16 ? ";kv=f16" : ";kv=f32";
  if (!options.reference)
    profile += ";exp=p6;attn=" + std::to_string(pagePositions) + "x" +
               std::to_string(partitionPages);
  return profile + (options.orderFree ? ";order=free" : "");
}

using Builder = flatbuffers::FlatBufferBuilder;

/// What `write` makes of each item, as FlatBuffers takes it.
template <typename Range, typename Write>
auto writeAll(const Range &items, Write write) {
  std::vector<std::decay_t<decltype(write(*items.begin()))>> written;
  written.reserve(items.size());
  for (const auto &item : items)
    written.push_back(write(item));
  return written;
}

artifact::Dim writeDim(EntryDim dim) {
  return dim.isFixed() ? artifact::Dim(dim.fixed, 0)
                       : artifact::Dim(-1, dim.symbol);
}

flatbuffers::Offset<artifact::Tensor> writeTensor(Builder &b,
                                                  const EntryTensor &tensor) {
  std::vector<artifact::Dim> dims = writeAll(tensor.dims, writeDim);
  return artifact::CreateTensorDirect(b, tensor.name.c_str(),
                                      dtypeOf(tensor.elementType),
                                      dims.empty() ? nullptr : &dims);
}

flatbuffers::Offset<artifact::Entry> writeEntry(Builder &b,
                                                const EntryInfo &entry) {
  auto symbols = writeAll(entry.symbols, [&](const std::string &symbol) {
    return b.CreateString(symbol);
  });
  auto tensorOf = [&](const EntryTensor &tensor) {
    return writeTensor(b, tensor);
  };
  auto inputs = writeAll(entry.inputs, tensorOf);
  auto outputs = writeAll(entry.outputs, tensorOf);
  auto arena = writeAll(entry.arena, [&](const ArenaSlot &slot) {
    return artifact::CreateArenaTermDirect(b, slot.bytes, &slot.symbols);
  });
  auto indexBounds = writeAll(entry.indexBounds, [&](const IndexBound &bound) {
    artifact::Dim below = writeDim(bound.below);
    return artifact::CreateIndexBound(b, bound.input, &below);
  });
  auto sizeBounds = writeAll(entry.sizeBounds, [&](const SizeBound &bound) {
    artifact::Dim size = writeDim(bound.size), atMost = writeDim(bound.atMost);
    return artifact::CreateSizeBound(b, &size, &atMost);
  });
  auto kind =
      entry.isStep ? artifact::EntryKind::Step : artifact::EntryKind::Plain;
  return artifact::CreateEntryDirect(
      b, entry.name.c_str(), kind, entry.function.c_str(), &symbols, &inputs,
      &outputs, &arena, &indexBounds, &sizeBounds);
}

flatbuffers::Offset<artifact::Facts> writeFacts(Builder &b,
                                                const ModelMetadata &metadata,
                                                uint64_t packedLinearBytes) {
  const ModelDimensions &d = metadata.dimensions;
  return artifact::CreateFactsDirect(
      b, metadata.name.c_str(), metadata.architecture.c_str(),
      metadata.license.c_str(), metadata.sourceSha256.c_str(),
      metadata.sourceBytes, metadata.numParameters, d.dModel, d.dFF,
      d.numLayers, d.numHeads, d.numKVHeads, d.headDim, packedLinearBytes);
}

/// What code generation leaves for the metadata.
struct CodeSegments {
  std::vector<EntryInfo> entries;
  uint64_t weightBytes = 0; ///< That the code addresses.
  uint64_t linearBytes = 0; ///< Of these, what products read.
  struct Variant {
    const CPUTarget *target;
    uint32_t segment;
    std::vector<KernelInfo> kernels;
  };
  std::vector<Variant> codes;
  uint32_t weights = 0;
  int32_t tokenizer = -1;
};

flatbuffers::Offset<artifact::Model> writeModel(Builder &b,
                                                const ModelMetadata &metadata,
                                                const CodeSegments &code) {
  std::vector<flatbuffers::Offset<artifact::Entry>> entries;
  entries.reserve(code.entries.size());
  std::vector<flatbuffers::Offset<artifact::State>> states;
  for (const EntryInfo &entry : code.entries) {
    entries.push_back(writeEntry(b, entry));
    for (const EntryState &state : entry.states)
      states.push_back(artifact::CreateState(
          b, artifact::StateKind::PagedKV, dtypeOf(state.elementType),
          state.layers, state.kvHeads, state.headDim, CHORUS_PAGE_POSITIONS,
          state.pageBytes()));
  }
  auto codes = writeAll(code.codes, [&](const CodeSegments::Variant &variant) {
    SmallVector<StringRef> names;
    variant.target->cpuFeatures.split(names, ' ');
    auto features = writeAll(
        names, [&](StringRef name) { return b.CreateString(name.str()); });
    auto kernels = writeAll(variant.kernels, [&](const KernelInfo &kernel) {
      return artifact::CreateKernelDirect(
          b, kernel.name.c_str(), kernel.int8Operations, kernel.f32Operations,
          kernel.perPosition, kernel.weightBytes, kernel.rowsSymbol);
    });
    return artifact::CreateCodeDirect(b, variant.target->name.str().c_str(),
                                      &features, variant.segment, &kernels);
  });
  auto facts = writeFacts(b, metadata, code.linearBytes);
  const SamplingDefaults &s = metadata.sampling;
  artifact::SamplingDefaultsBuilder defaults(b);
  if (s.temperature)
    defaults.add_temperature(*s.temperature);
  if (s.topP)
    defaults.add_top_p(*s.topP);
  if (s.topK)
    defaults.add_top_k(*s.topK);
  if (s.minP)
    defaults.add_min_p(*s.minP);
  auto sampling = defaults.Finish();
  return artifact::CreateModelDirect(
      b, metadata.name.c_str(), &entries, &states, &codes, code.weights,
      code.tokenizer,
      metadata.chatTemplate.empty() ? nullptr : metadata.chatTemplate.c_str(),
      metadata.vocabSize, metadata.contextLength, &metadata.stopIds, facts,
      sampling, code.weightBytes);
}

} // namespace

std::vector<std::string> stoppablePhases() {
  return {"graph", "raised", "step", "fused", "kernel"};
}

rt::StatusOr<std::string> stopAfter(ImportedModel &model,
                                    const CompileOptions &options,
                                    const std::string &phase) {
  ModuleOp module = *model.module;
  MLIRContext &context = *module.getContext();
  loadDialects(context);
  DiagnosticStatus diagnostics(context);
  std::string text;
  llvm::raw_string_ostream out(text);
  if (std::optional<Phase> last = symbolizePhase(phase)) {
    if (options.reference && *last > Phase::Raised)
      return rt::usageError("--reference has no form '" + phase +
                            "': it goes from 'raised' to 'kernel'");
    PassManager manager(&context);
    addPhases(manager, options, *last);
    if (failed(manager.run(module)))
      return diagnostics.status();
    out << module;
    return text;
  }
  // The kernel form: one module for each target inside one module.
  WeightPlan plan;
  if (failed(prepareKernels(module, options)) || failed(plan.build(module)))
    return diagnostics.status();
  OwningOpRef<ModuleOp> all = ModuleOp::create(module.getLoc());
  for (const CPUTarget &target : targetsOf(options)) {
    rt::StatusOr<KernelModule> kernels = diagnostics.valueOf(
        lowerToKernels(module, plan, target, options.orderFree));
    CHORUS_RETURN_IF_ERROR(kernels.status());
    kernels->module->setSymName(target.name);
    all->push_back(kernels->module.release());
  }
  out << *all;
  return text;
}

struct ArtifactCompiler::Model {
  ModelMetadata metadata;
  CodeSegments code;
};

ArtifactCompiler::ArtifactCompiler(const CompileOptions &options,
                                   ArtifactWriter &writer)
    : options(options), writer(writer) {}

ArtifactCompiler::~ArtifactCompiler() = default;

rt::Status ArtifactCompiler::add(ImportedModel &model) {
  ModuleOp module = *model.module;
  MLIRContext &context = *module.getContext();
  loadDialects(context);
  DiagnosticStatus diagnostics(context);

  options.progress(options.reference ? "decomposing the model"
                                     : "deriving the step program");
  WeightPlan plan;
  if (failed(prepareKernels(module, options)) || failed(plan.build(module)))
    return diagnostics.status();

  CodeSegments code;
  code.weightBytes = plan.sizeBytes();
  code.linearBytes = plan.factorBytes();
  for (const CPUTarget &target : targetsOf(options)) {
    options.progress("making code for " + target.name.str());
    rt::StatusOr<KernelModule> kernels = diagnostics.valueOf(
        lowerToKernels(module, plan, target, options.orderFree));
    CHORUS_RETURN_IF_ERROR(kernels.status());
    if (failed(lowerKernelsToLLVM(*kernels->module)))
      return diagnostics.status();
    rt::StatusOr<std::string> bytes =
        diagnostics.valueOf(emitSharedObject(*kernels->module, target));
    CHORUS_RETURN_IF_ERROR(bytes.status());
    rt::StatusOr<uint32_t> segment = writer.addSegment(
        artifact::SegmentKind::Code, bytes->data(), bytes->size());
    CHORUS_RETURN_IF_ERROR(segment.status());
    code.codes.push_back({&target, *segment, std::move(kernels->kernels)});
    code.entries = std::move(kernels->entries);
  }

  if (const std::string &bytes = model.metadata.tokenizerSegment;
      !bytes.empty()) {
    rt::StatusOr<uint32_t> segment = writer.addSegment(
        artifact::SegmentKind::Tokenizer, bytes.data(), bytes.size());
    CHORUS_RETURN_IF_ERROR(segment.status());
    code.tokenizer = static_cast<int32_t>(*segment);
  }

  CHORUS_RETURN_IF_ERROR(writer.beginSegment(artifact::SegmentKind::Weights));
  CHORUS_RETURN_IF_ERROR(packWeights(
      plan, *model.parameters, context,
      [&](const void *data, uint64_t bytes) {
        return writer.append(data, bytes);
      },
      [&](uint64_t done, uint64_t total) {
        options.progress(
            "packing weights: " +
            std::to_string(100 * done / std::max<uint64_t>(1, total)) + " %");
      }));
  rt::StatusOr<uint32_t> weights = writer.endSegment();
  CHORUS_RETURN_IF_ERROR(weights.status());
  code.weights = *weights;
  CHORUS_RETURN_IF_ERROR(model.parameters->checkUnchanged());
  ModelMetadata metadata = model.metadata;
  if (metadata.name.empty())
    metadata.name = "model";
  // Names tell the models of an artifact apart.
  if (!models.empty() && models.front().metadata.name == metadata.name)
    metadata.name += " (verifier)";
  models.push_back({std::move(metadata), std::move(code)});
  return {};
}

/// Null without a way to score.
static flatbuffers::Offset<artifact::Scoring>
writeScoring(Builder &b, const ScoringSpec &spec) {
  if (const std::optional<VerifierSpec> &verifier = spec.verifier)
    return artifact::CreateScoringDirect(b, verifier->isGenerator ? 0 : 1,
                                         verifier->templateText.c_str(),
                                         verifier->score.c_str());
  if (const std::optional<ValueHead> &head = spec.valueHead)
    return artifact::CreateScoring(
        b, /*model=*/0, /*template_text=*/0, /*score=*/0,
        artifact::CreateValueHead(b, head->token.value_or(-1), head->gain,
                                  head->bias));
  return 0;
}

rt::Status ArtifactCompiler::finish(const ScoringSpec &spec) {
  options.progress("writing metadata");
  return writer.finish([&](Builder &b, ArtifactWriter::SegmentList segments) {
    auto modelOffsets = writeAll(models, [&](const Model &model) {
      return writeModel(b, model.metadata, model.code);
    });
    std::vector<flatbuffers::Offset<artifact::CompileOption>> choices;
    auto choice = [&](const char *name, const char *value) {
      choices.push_back(artifact::CreateCompileOptionDirect(b, name, value));
    };
    choice("activations",
           options.numeric.activations == Activations::Int8 ? "int8" : "f32");
    choice("kv-cache",
           options.numeric.cacheType == CacheType::F16 ? "f16" : "f32");
    choice("reference", options.reference ? "true" : "false");
    std::vector<flatbuffers::Offset<flatbuffers::String>> required;
    auto producer = b.CreateString("chorus " CHORUS_VERSION);
    auto profile = b.CreateString(numericProfile(options));
    auto requiredFeatures = b.CreateVector(required);
    auto optionList = b.CreateVector(choices);
    auto modelList = b.CreateVector(modelOffsets);
    auto scoring = writeScoring(b, spec);
    return artifact::CreateArtifact(b, producer, CHORUS_STEP_ABI_VERSION,
                                    requiredFeatures, profile, optionList,
                                    segments, modelList, scoring);
  });
}

} // namespace chorus
