//===- chorus-run.cpp - Answers prompts with a compiled model -------------===//

#include "Cancellation.h"
#include "Chat.h"
#include "HeaderRun.h"
#include "Input.h"
#include "Jsonl.h"
#include "Options.h"
#include "Output.h"
#include "Replay.h"

#include "chorus_rt/AtomicFile.h"
#include "chorus_rt/FileMapping.h"
#include "chorus_rt/PlainEntry.h"
#include "support/ToolMain.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <unistd.h>

using namespace chorus;
using namespace chorus::run;

/// Progress lines, from the first second on.
static std::function<void(const rt::GenerationProgress &)>
showProgress(tool::Console &console) {
  auto start = std::chrono::steady_clock::now();
  return [&console, start](const rt::GenerationProgress &progress) {
    if (std::chrono::steady_clock::now() - start < std::chrono::seconds(1))
      return;
    if (progress.promptComputed < progress.promptTokens)
      console.progress("prompt: " + std::to_string(progress.promptComputed) +
                       " of " + std::to_string(progress.promptTokens) +
                       " tokens");
    else
      console.progress(std::to_string(progress.tokens) + " tokens, " +
                       std::to_string(progress.finished) + " of " +
                       std::to_string(progress.candidates) +
                       " candidates done");
  };
}

static rt::Status echoLogprobs(rt::Engine &engine, int64_t count,
                               const std::vector<int32_t> &ids) {
  auto printPosition = [](const rt::TokenDistribution &distribution) {
    return print((distribution.position > 0 ? "," : "{\"positions\":[") +
                 rt::distributionObject(distribution));
  };
  CHORUS_RETURN_IF_ERROR(
      engine.distributions(ids, count, printPosition, cancelRequested));
  CHORUS_RETURN_IF_ERROR(cancellationStatus());
  return print("]}\n");
}

static rt::RecordContext contextOf(const rt::Engine &engine,
                                   const rt::Request &request) {
  const rt::Artifact &artifact = engine.program().artifact();
  rt::RecordContext context;
  context.request = &request;
  context.artifactSha256 = artifact.artifactSha256();
  context.numericProfile = std::string(artifact.metadata().numericProfile);
  context.hasTokenizer = engine.tokenizer() != nullptr;
  return context;
}

static rt::Status searchBeams(rt::Engine &engine, const Options &options,
                              std::vector<int32_t> ids) {
  rt::StatusOr<rt::Request> request = makeRequest(options, {});
  CHORUS_RETURN_IF_ERROR(request.status());
  request->prompt = std::move(ids);
  rt::StatusOr<rt::BeamResults> beams =
      engine.beamSearch(*request, options.beamSearch(), cancelRequested);
  CHORUS_RETURN_IF_ERROR(beams.status());
  CHORUS_RETURN_IF_ERROR(cancellationStatus());
  rt::RecordContext context = contextOf(engine, *request);
  context.beams = options.beamSearch();
  return printResults(options, context, beams->candidates,
                      rt::rankBeams(*beams));
}

static rt::Status generate(chorus_engine &handle, const Options &options,
                           std::vector<int32_t> ids,
                           const nlohmann::ordered_json &messages,
                           tool::Console &console) {
  rt::Engine &engine = rt::engineOf(handle);
  chorus_rank_options rankOptions;
  chorus_rank_options_init(&rankOptions);
  if (options.rank)
    rankOptions.rule = options.rank->c_str();
  if (options.answerPattern)
    rankOptions.answer_pattern = options.answerPattern->c_str();
  rankOptions.judges = options.judges;
  rankOptions.judge_combine = options.judgeCombine.c_str();
  rankOptions.should_cancel = [](void *) -> int { return cancelRequested(); };
  rt::StatusOr<Handle<chorus_ranker>> ranker =
      createRanker(handle, rankOptions);
  CHORUS_RETURN_IF_ERROR(ranker.status());
  rt::StatusOr<rt::Request> request =
      makeRequest(options, engine.program().model().sampling);
  CHORUS_RETURN_IF_ERROR(request.status());
  request->prompt = std::move(ids);
  request->values = chorus_ranker_needs_values(ranker->get()) != 0;
  StreamPrinter printer(options.json, request->candidates > 1);
  rt::GenerationHooks hooks;
  if (options.stream)
    hooks.onToken = [&](const rt::TokenEvent &event) {
      return printer.onToken(event);
    };
  // Text on the terminal and a line that is rewritten do not go together.
  if (!options.stream || !isatty(STDOUT_FILENO))
    hooks.onStep = showProgress(console);
  hooks.shouldCancel = cancelRequested;
  rt::StatusOr<Handle<chorus_result>> result =
      runRequest(handle, *request, hooks);
  console.clearProgress();
  CHORUS_RETURN_IF_ERROR(result.status());
  CHORUS_RETURN_IF_ERROR(cancellationStatus());
  std::string text = messages.dump();
  rt::Status ranked =
      rank(**ranker, **result, messages.empty() ? nullptr : &text);
  CHORUS_RETURN_IF_ERROR(cancellationStatus());
  CHORUS_RETURN_IF_ERROR(ranked);
  const rt::Ranking &ranking = rt::rankingOf(**result);
  CHORUS_RETURN_IF_ERROR(printResults(options, contextOf(engine, *request),
                                      rt::generationOf(**result).candidates,
                                      ranking));
  return ranking.failure;
}

/// Writes the kernels that were entered so far to `path`, one a line.
static rt::Status writeKernels(const rt::Program &program,
                               const std::string &path) {
  std::string names;
  const std::vector<rt::KernelInfo> &kernels = program.code().kernels;
  for (size_t i = 0; i < kernels.size(); ++i)
    if (program.kernelEntered(i))
      names.append(kernels[i].name).append("\n");
  rt::StatusOr<rt::AtomicFile> file = rt::AtomicFile::create(path);
  CHORUS_RETURN_IF_ERROR(file.status());
  CHORUS_RETURN_IF_ERROR(file->append(names.data(), names.size()));
  return file->commit();
}

static rt::Status runTool(const Options &options, tool::Console &console) {
  CHORUS_RETURN_IF_ERROR(checkOptions(options));
  bool interactive = !options.hasPrompt() && !options.entry &&
                     !options.tokenizeFile && !options.jsonl && !options.replay;
  if (interactive && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
    return rt::usageError("no prompt; needed is one of --prompt, "
                          "--prompt-file, --prompt-ids, --messages, or a "
                          "terminal to chat on");
  rt::StatusOr<std::shared_ptr<const rt::Artifact>> artifact =
      rt::Artifact::open(options.artifact);
  CHORUS_RETURN_IF_ERROR(artifact.status());
  const rt::ModelInfo &model = (*artifact)->models().front();
  rt::StatusOr<std::shared_ptr<const rt::Tokenizer>> tokenizer =
      rt::loadTokenizer(**artifact, model);
  CHORUS_RETURN_IF_ERROR(tokenizer.status());
  if (options.tokenizeFile) {
    if (!*tokenizer)
      return rt::unsupported("tokenizer", "the model has none");
    return tokenizeFile(options, **tokenizer);
  }
  rt::Prompt prompt;
  nlohmann::ordered_json messages;
  if (options.hasPrompt()) {
    rt::StatusOr<rt::Prompt> made =
        makePrompt(options, model, tokenizer->get(), messages);
    CHORUS_RETURN_IF_ERROR(made.status());
    prompt = std::move(*made);
  }
  if (options.printPrompt && !interactive)
    return printPrompt(prompt, options.json);

  rt::StatusOr<std::shared_ptr<const rt::Program>> program =
      rt::Program::load(*artifact, 0, options.cpu);
  CHORUS_RETURN_IF_ERROR(program.status());
  if (options.entry) {
    rt::ThreadPool threads(options.threads.value_or(rt::availableCores()));
    return rt::runPlainEntry(**program, *options.entry,
                             options.inputs.value_or(""),
                             options.outputs.value_or(""), threads.api());
  }
  rt::StatusOr<std::unique_ptr<rt::Engine>> engine =
      rt::Engine::create(*program, *tokenizer, options.engine());
  CHORUS_RETURN_IF_ERROR(engine.status());
  std::unique_ptr<chorus_engine, void (*)(chorus_engine *)> handle(
      rt::handleOf(std::move(*engine)), chorus_close);
  rt::Engine &inHandle = rt::engineOf(*handle);
  catchSignals();
  if (interactive)
    return chat(*handle, options);
  CHORUS_RETURN_IF_ERROR(
      options.jsonl    ? runRequestFile(inHandle, options, console)
      : options.replay ? replay(*handle, options, console)
      : options.echoLogprobs
          ? echoLogprobs(inHandle, *options.echoLogprobs, prompt.ids)
      : options.beams ? searchBeams(inHandle, options, std::move(prompt.ids))
                      : generate(*handle, options, std::move(prompt.ids),
                                 messages, console));
  return options.kernels ? writeKernels(**program, *options.kernels)
                         : rt::Status();
}

int main(int argc, char **argv) {
  rt::FileMapping::installFaultHandler();
  exitOnSignals();
  Options options;
  tool::ToolDescription description;
  description.name = "chorus-run";
  description.summary = "Answers prompts with a compiled model";
  description.examples =
      "  chorus-run m.chorus --chat --prompt 'What is the capital of France?' "
      "-n 4 --temperature 0.8\n"
      "  chorus-run m.chorus --prompt 'def f(x):' --stop $'\\ndef' --stream\n"
      "  chorus-run m.chorus --jsonl questions.jsonl --out answers.jsonl -n 16 "
      "--chat\n"
      "  chorus-run m.chorus --prompt-ids 1,2,3 --json --echo-logprobs 5\n"
      "  chorus-run op.chorus --entry main --inputs in.safetensors --outputs "
      "out.safetensors";
  return tool::runTool(
      argc, argv, description, [&](CLI::App &app) { addOptions(app, options); },
      [&](tool::Console &console) {
        return namingOptions(::runTool(options, console));
      });
}
