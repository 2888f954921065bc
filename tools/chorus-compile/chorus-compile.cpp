//===- chorus-compile.cpp - A model to one .chorus file -------------------===//

#include "chorus/Conversion/TransformerToKernels/CPUTarget.h"
#include "chorus/Import/Families/Family.h"
#include "chorus/Import/GGUF/TensorType.h"
#include "chorus/Pipelines/Compile.h"
#include "chorus_rt/ChatTemplate.h"
#include "chorus_rt/FileMapping.h"
#include "chorus_rt/ScoreExpression.h"
#include "support/ChildProcess.h"
#include "support/ToolMain.h"

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/ErrorHandling.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <unistd.h>

using namespace chorus;

namespace {

struct Options : tool::ModelArguments {
  std::string stopAfter, reproFolder;
  /// A verifier is a file, or "self".
  std::string verifier, verifierTemplate, score;
  std::string valueHead;
  std::vector<std::string> targets{"cpu"};
  std::string activations = "int8", cacheType = "f16";
  bool reference = false, orderFree = false, timeReport = false,
       listSupported = false;
  tool::ChildLimits limits;
};

/// Prints how long each part of a compilation took.
class PartTimer {
public:
  explicit PartTimer(bool enabled) : enabled(enabled) {}
  ~PartTimer() { next(""); }

  void next(const std::string &part) {
    auto now = std::chrono::steady_clock::now();
    // Parts that count up ("packing weights: 42 %") are one part.
    std::string name = part.substr(0, part.find(':'));
    if (name == current)
      return;
    if (enabled && !current.empty())
      std::fprintf(stderr, "%8.3f s  %s\n",
                   std::chrono::duration<double>(now - start).count(),
                   current.c_str());
    current = name;
    start = now;
  }

private:
  bool enabled;
  std::string current;
  std::chrono::steady_clock::time_point start;
};

rt::StatusOr<VerifierSpec> readVerifier(const Options &options) {
  rt::StatusOr<rt::FileMapping> file =
      rt::FileMapping::open(options.verifierTemplate);
  CHORUS_RETURN_IF_ERROR(file.status());
  VerifierSpec verifier;
  verifier.isGenerator = options.verifier == "self";
  verifier.templateText.assign(reinterpret_cast<const char *>(file->data()),
                               file->size());
  verifier.score = options.score;
  // What can't be parsed is refused now, not when candidates wait for a score.
  CHORUS_RETURN_IF_ERROR(
      rt::ChatTemplate::parse(verifier.templateText).status());
  CHORUS_RETURN_IF_ERROR(rt::ScoreExpression::parse(verifier.score).status());
  return verifier;
}

/// Whether the score's texts are tokens of the verifier.
rt::Status checkScore(const VerifierSpec &verifier,
                      const ModelMetadata &metadata) {
  if (metadata.tokenizerSegment.empty())
    return rt::unsupported("verifier", "the model has no tokenizer");
  rt::StatusOr<std::unique_ptr<rt::Tokenizer>> tokenizer =
      rt::Tokenizer::create(metadata.tokenizerSegment);
  CHORUS_RETURN_IF_ERROR(tokenizer.status());
  return rt::ScoreExpression::parse(verifier.score)
      ->tokens(**tokenizer)
      .status();
}

rt::Status compile(const Options &options, ArtifactWriter *writer,
                   tool::Console &console, tool::ChildPart &childPart) {
  PartTimer timer(options.timeReport);
  CompileOptions compileOptions;
  compileOptions.reference = options.reference;
  compileOptions.orderFree = options.orderFree;
  compileOptions.numeric.activations =
      options.activations == "int8" ? Activations::Int8 : Activations::F32;
  compileOptions.numeric.cacheType =
      options.cacheType == "f16" ? CacheType::F16 : CacheType::F32;
  compileOptions.progress = [&](const std::string &part) {
    timer.next(part);
    childPart.set(part);
    console.progress(part);
  };

  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  auto import = [&](const std::string &path) {
    compileOptions.progress("reading " +
                            std::filesystem::path(path).filename().string());
    rt::StatusOr<ImportedModel> model =
        importModel(path, ImportOptions{options.allowNonfinite}, context);
    console.clearProgress();
    if (model.ok())
      for (const std::string &warning : model->metadata.warnings)
        console.warning("import", warning);
    return model;
  };
  rt::StatusOr<ImportedModel> model = import(options.input);
  CHORUS_RETURN_IF_ERROR(model.status());
  ScoringSpec scoring;
  if (!options.valueHead.empty()) {
    rt::StatusOr<ValueHead> head = addValueHead(options.valueHead, *model);
    CHORUS_RETURN_IF_ERROR(head.status());
    scoring.valueHead = *head;
  }

  if (!options.stopAfter.empty()) {
    rt::StatusOr<std::string> text =
        stopAfter(*model, compileOptions, options.stopAfter);
    CHORUS_RETURN_IF_ERROR(text.status());
    if (options.output.empty() || options.output == "-") {
      std::cout << *text << std::flush;
      return {};
    }
    rt::StatusOr<rt::AtomicFile> file = rt::AtomicFile::create(options.output);
    CHORUS_RETURN_IF_ERROR(file.status());
    CHORUS_RETURN_IF_ERROR(file->append(text->data(), text->size()));
    return file->commit();
  }
  std::optional<VerifierSpec> &verifier = scoring.verifier;
  if (!options.verifier.empty()) {
    rt::StatusOr<VerifierSpec> read = readVerifier(options);
    CHORUS_RETURN_IF_ERROR(read.status());
    verifier = std::move(*read);
  }
  if (verifier && verifier->isGenerator)
    CHORUS_RETURN_IF_ERROR(checkScore(*verifier, model->metadata));
  ArtifactCompiler compiler(compileOptions, *writer);
  CHORUS_RETURN_IF_ERROR(compiler.add(*model));
  if (verifier && !verifier->isGenerator) {
    rt::StatusOr<ImportedModel> second = import(options.verifier);
    CHORUS_RETURN_IF_ERROR(second.status());
    CHORUS_RETURN_IF_ERROR(checkScore(*verifier, second->metadata));
    CHORUS_RETURN_IF_ERROR(compiler.add(*second));
  }
  CHORUS_RETURN_IF_ERROR(compiler.finish(scoring));
  return writer->flush();
}

/// A word of a command line as a shell takes it.
std::string shellWord(const std::string &word) {
  std::string text = "'";
  for (char byte : word)
    text += byte == '\'' ? "'\\''" : std::string(1, byte);
  return text + "'";
}

/// Copies the files that the command line names, and notes what it would be
/// beside the copies and how it ended, for a bug report. A copy has the name of
/// its option, since files of several folders may have one name.
void saveRepro(const CLI::App &commandLine, const std::string &reproFolder,
               const std::string &error) {
  namespace fs = std::filesystem;
  std::error_code failure;
  fs::path folder = reproFolder;
  fs::create_directories(folder, failure);
  std::string command = "chorus-compile";
  for (const CLI::Option *option : commandLine.get_options()) {
    const std::string &name = option->get_single_name();
    if (name == "output" || name == "save-repro")
      continue;
    bool readsFile = option->get_type_name().find(":FILE") != std::string::npos;
    for (std::string value : option->results()) {
      if (readsFile && fs::is_regular_file(value, failure)) {
        std::string copy = name + fs::path(value).extension().string();
        fs::copy_file(value, folder / copy,
                      fs::copy_options::overwrite_existing, failure);
        value = std::move(copy);
      }
      command += ' ';
      if (option->nonpositional())
        command += "--" + name;
      if (option->get_expected_max() == 0) // A flag.
        continue;
      if (option->nonpositional())
        command += '=';
      command += shellWord(value);
    }
  }
  if (FILE *file = std::fopen((folder / "command.txt").c_str(), "w")) {
    std::fprintf(file, "%s\n%s\n", command.c_str(), error.c_str());
    std::fclose(file);
  }
}

rt::Status listSupported() {
  std::cout << "inputs        GGUF v2 and v3, MLIR text\n";
  for (const Family *family : allFamilies())
    std::cout << "family        " << family->architecture.str() << " ("
              << family->models.str() << ")\n";
  std::cout << "tensor types  " << gguf::supportedTensorTypes()
            << "\ntokenizers    byte-level BPE: gpt-2, llama-bpe, smollm\n";
  for (const CPUTarget &target : getCPUTargets())
    std::cout << "target        cpu, " << target.name.str() << ": "
              << target.cpuFeatures.str() << "\n";
  return {};
}

} // namespace

int main(int argc, char **argv) {
  rt::FileMapping::installFaultHandler();
  // A fatal error of LLVM ends the child; its parent says so in one line.
  llvm::install_fatal_error_handler([](void *, const char *, bool) {
    _exit(static_cast<int>(rt::ExitCode::Internal));
  });
  Options options;
  int stopped = 0;
  const CLI::App *commandLine = nullptr;
  tool::ToolDescription description;
  description.name = "chorus-compile";
  description.summary =
      "Compiles a model (GGUF or MLIR text) into one .chorus file.";
  description.examples = "chorus-compile smollm2.gguf -o smollm2.chorus\n"
                         "chorus-compile model.mlir --stop-after=fused";
  description.llvmVersion = LLVM_VERSION_STRING;
  int exitCode = tool::runTool(
      argc, argv, description,
      [&](CLI::App &app) {
        commandLine = &app;
        auto *input = tool::addModelArguments(app, options, "STEM.chorus");
        app.add_option("--generator", options.input, "The same as IN")
            ->check(tool::readablePath())
            ->excludes(input)
            ->group("Verifier");
        auto *verifier =
            app.add_option("--verifier", options.verifier,
                           "Model that scores the candidates: a file, or "
                           "'self' for the generator")
                ->check(CLI::Validator(
                    [](std::string &path) {
                      return path == "self" ? "" : tool::readablePath()(path);
                    },
                    "FILE|self"))
                ->group("Verifier");
        auto *judgeTemplate =
            app.add_option("--verifier-template", options.verifierTemplate,
                           "Jinja template of what the verifier reads; "
                           "variables: question, messages, candidate")
                ->check(tool::readablePath())
                ->needs(verifier)
                ->group("Verifier");
        auto *score =
            app.add_option("--score", options.score,
                           "Score of a candidate, of probabilities of the next "
                           "token: 'p(\" yes\") / (p(\" yes\") + p(\" no\"))'")
                ->needs(verifier)
                ->group("Verifier");
        verifier->needs(judgeTemplate)->needs(score);
        app.add_option("--value-head", options.valueHead,
                       "Safetensors file of a verifier on the generator's "
                       "trunk: weight [d_model] and bias [], or token, gain "
                       "and bias [] for one token's logit")
            ->check(tool::readablePath())
            ->type_name("F.safetensors")
            ->excludes(verifier)
            ->group("Verifier");
        const char *numbers = "Numbers";
        app.add_option("--activations", options.activations,
                       "Inputs of products with weights in blocks")
            ->check(CLI::IsMember({"int8", "f32"}))
            ->group(numbers);
        app.add_option("--kv-cache", options.cacheType,
                       "Element type of keys and values")
            ->check(CLI::IsMember({"f16", "f32"}))
            ->group(numbers);
        app.add_flag(
               "--reference", options.reference,
               "Compile every op through its definition (slow; for comparison)")
            ->group(numbers);
        app.add_flag("--order-free", options.orderFree,
                     "Let kernels add in the order that suits their shape: "
                     "bits then depend on what runs beside (for measuring what "
                     "equal bits cost)")
            ->excludes("--reference")
            ->group(numbers);
        const char *code = "Code";
        app.add_option("--target", options.targets, "Machines to make code for")
            ->check(CLI::IsMember({"cpu"}))
            ->group(code);
        app.add_option("--stop-after", options.stopAfter,
                       "Write the model's form after this phase as MLIR text")
            ->check(CLI::IsMember(stoppablePhases()))
            ->group(code);
        app.add_flag("--time-report", options.timeReport,
                     "Print seconds per part")
            ->group(code);
        app.add_flag("--list-supported", options.listSupported,
                     "Print what can be compiled and end")
            ->group(code);
        const char *limits = "Limits";
        app.add_option("--time-limit", options.limits.seconds,
                       "Seconds (default: none)")
            ->check(CLI::PositiveNumber)
            ->group(limits);
        app.add_option("--max-memory", options.limits.memoryBytes,
                       "Bytes (default: none)")
            ->check(CLI::PositiveNumber)
            ->group(limits);
        app.add_option(
               "--save-repro", options.reproFolder,
               "Folder for inputs and command line if the compiler dies")
            ->type_name("DIR")
            ->group(limits);
      },
      [&](tool::Console &console) -> rt::Status {
        if (options.listSupported)
          return listSupported();
        if (options.input.empty())
          return rt::usageError("IN is required: a .gguf or .mlir file");
        bool artifact = options.stopAfter.empty();
        if (artifact && options.output.empty())
          options.output =
              std::filesystem::path(options.input).stem().string() + ".chorus";
        std::error_code unknown; // Files that do not exist are not the same.
        if (std::filesystem::equivalent(options.input, options.output, unknown))
          return rt::usageError("the output would replace the input " +
                                rt::escapeForMessage(options.input, 200));
        tool::holdStopSignals();
        std::optional<ArtifactWriter> writer;
        if (artifact) {
          rt::StatusOr<ArtifactWriter> created =
              ArtifactWriter::create(options.output);
          CHORUS_RETURN_IF_ERROR(created.status());
          writer.emplace(std::move(*created));
          // What is still in its buffer would be written again by both.
          CHORUS_RETURN_IF_ERROR(writer->flush());
        }
        tool::ChildPart part;
        rt::Status status = tool::runInChild(
            options.limits,
            [&] {
              return compile(options, writer ? &*writer : nullptr, console,
                             part);
            },
            stopped, &part);
        if (status.exitCode() == rt::ExitCode::Internal && !stopped &&
            !options.reproFolder.empty())
          saveRepro(*commandLine, options.reproFolder, status.message());
        CHORUS_RETURN_IF_ERROR(status);
        if (!artifact)
          return {};
        // From here on the output is replaced, whatever comes.
        stopped = tool::pendingStopSignal();
        if (stopped)
          return rt::Status::error(rt::ExitCode::Internal, "internal", "",
                                   "stopped by signal " +
                                       std::to_string(stopped));
        return writer->commit();
      });
  return stopped ? 128 + stopped : exitCode;
}
