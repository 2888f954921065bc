//===- EmitObject.cpp - Kernel form to a shared object --------------------===//

#include "chorus/Target/CPU/EmitObject.h"

#include "lld/Common/Driver.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir;

LLD_HAS_DRIVER(elf)

namespace chorus {

namespace {

/// Transcendental functions of decomposed ops become upstream's polynomials:
/// the shared object has no library behind it.
struct ApproximateMathPass
    : PassWrapper<ApproximateMathPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ApproximateMathPass)
  StringRef getName() const override { return "ApproximateMath"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<math::MathDialect>();
  }
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

LogicalResult lowerKernelsToLLVM(ModuleOp module) {
  PassManager passes(module.getContext());
  passes.enableVerifier(true);
  passes.addPass(createConvertLinalgToLoopsPass());
  passes.addPass(std::make_unique<ApproximateMathPass>());
  passes.addPass(createCSEPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(arith::createArithExpandOpsPass());
  passes.addPass(createConvertVectorToLLVMPass());
  passes.addPass(createConvertMathToLLVMPass());
  passes.addPass(createFinalizeMemRefToLLVMConversionPass());
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createConvertIndexToLLVMPass());
  passes.addPass(createUBToLLVMConversionPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  return passes.run(module);
}

namespace {

/// A file in memory, with a path that lld can read.
class MemoryFile {
public:
  explicit MemoryFile(const char *name)
      : descriptor(memfd_create(name, MFD_CLOEXEC)) {}
  ~MemoryFile() {
    if (descriptor >= 0)
      close(descriptor);
  }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  std::string path() const {
    return "/proc/self/fd/" + std::to_string(descriptor);
  }
  int fd() const { return descriptor; }

  bool writeAll(StringRef bytes) {
    while (!bytes.empty()) {
      ssize_t count = write(descriptor, bytes.data(), bytes.size());
      if (count <= 0)
        return false;
      bytes = bytes.drop_front(count);
    }
    return true;
  }

  bool readAll(std::string &bytes) {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
      return false;
    bytes.resize(status.st_size);
    size_t done = 0;
    while (done < bytes.size()) {
      ssize_t count =
          pread(descriptor, bytes.data() + done, bytes.size() - done, done);
      if (count <= 0)
        return false;
      done += count;
    }
    return true;
  }

private:
  int descriptor;
};

/// Sends standard output to another descriptor for a while: lld writes its
/// output there or to a file in a folder, and no folder is to be needed.
class StandardOutputGuard {
public:
  explicit StandardOutputGuard(int target) {
    llvm::outs().flush();
    saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    dup2(target, STDOUT_FILENO);
  }
  ~StandardOutputGuard() {
    llvm::outs().flush();
    if (saved < 0) {
      close(STDOUT_FILENO);
      return;
    }
    dup2(saved, STDOUT_FILENO);
    close(saved);
  }
  StandardOutputGuard(const StandardOutputGuard &) = delete;
  StandardOutputGuard &operator=(const StandardOutputGuard &) = delete;

private:
  int saved;
};

} // namespace

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const CPUTarget &target, std::string &error) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialized;
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return nullptr;
  llvm::TargetOptions options; // Fuses only what is written as a fused op.
  return std::unique_ptr<llvm::TargetMachine>(found->createTargetMachine(
      triple, target.llvmCPU, target.llvmFeatures, options, llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  // Kernels are vectorised and unrolled by hand; there is no C library.
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.SLPVectorization = false;
  tuning.LoopUnrolling = tuning.LoopInterleaving = false;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::TargetLibraryInfoImpl noLibrary(module.getTargetTriple());
  noLibrary.disableAllFunctions();
  functions.registerPass(
      [&] { return llvm::TargetLibraryAnalysis(noLibrary); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(module, modules);
}

FailureOr<std::string> emitSharedObject(ModuleOp module,
                                        const CPUTarget &target) {
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  module.getContext()->appendDialectRegistry(registry);

  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(module, context, "chorus");
  if (!code)
    return module.emitError("cannot translate kernels to LLVM IR");
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(target, error);
  if (!machine)
    return module.emitError()
           << "cannot make code for " << target.name << ": " << error;
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  for (llvm::Function &function : *code) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("no-builtins");
    function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr("min-legal-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  optimize(*code, *machine);

  llvm::SmallString<0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager emit;
  if (machine->addPassesToEmitFile(emit, stream, nullptr,
                                   llvm::CodeGenFileType::ObjectFile))
    return module.emitError("cannot emit object code");
  emit.run(*code);

  MemoryFile input("chorus-object"), output("chorus-code");
  if (!input.writeAll(object))
    return module.emitError("cannot hold the object code in memory");
  std::string inputPath = input.path(), messages;
  llvm::raw_string_ostream diagnostics(messages);
  const char *arguments[] = {"ld.lld",
                             "-shared",
                             inputPath.c_str(),
                             "-o",
                             "-",
                             "-z",
                             "defs",
                             "--build-id=none",
                             "--strip-all",
                             "--gc-sections",
                             "-z",
                             "noexecstack",
                             "--hash-style=gnu",
                             "--threads=1"};
  bool linked;
  {
    StandardOutputGuard guard(output.fd());
    linked = lld::elf::link(arguments, llvm::nulls(), diagnostics,
                            /*exitEarly=*/false,
                            /*disableOutput=*/false);
  }
  if (!linked)
    return module.emitError()
           << "cannot link: " << StringRef(messages).split('\n').first;
  std::string bytes;
  if (!output.readAll(bytes) || bytes.empty())
    return module.emitError("cannot read the linked code");
  return bytes;
}

} // namespace chorus
