//===- Options.cpp - The command line of chorus-run -----------------------===//

#include "Options.h"

#include "support/ToolMain.h"

#include <algorithm>
#include <charconv>
#include <limits>

using namespace chorus;
using namespace chorus::run;

/// "0 or 0.001 to 1000": shown where CLI11 shows a type.
static std::string temperatureRange() {
  return "0 or " + CLI::detail::to_string(rt::minTemperature) + " to " +
         CLI::detail::to_string(rt::maxTemperature);
}

/// Check that a text is a whole number that a T holds: CLI11 takes the nearest
/// one where it does not.
template <typename T> static CLI::Validator wholeNumber() {
  return CLI::Validator(
      [](std::string &text) -> std::string {
        T value;
        const char *end = text.data() + text.size();
        auto [at, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc() && at == end)
          return "";
        return "'" + rt::escapeForMessage(text) + "' is no whole number from " +
               std::to_string(std::numeric_limits<T>::min()) + " to " +
               std::to_string(std::numeric_limits<T>::max());
      },
      "");
}

static void addPromptOptions(CLI::App &app, Options &options) {
  const char *group = "Prompt";
  app.add_option("--prompt", options.prompt, "Prompt text")->group(group);
  app.add_option("--prompt-file", options.promptFile,
                 "File with the prompt text; - is stdin")
      ->check(tool::readablePath(true))
      ->group(group);
  app.add_option("--prompt-ids", options.promptIds,
                 "Prompt as token ids: 1,2,3")
      ->group(group);
  app.add_option("--messages", options.messages,
                 "JSON file with an array of messages (role, content); - is "
                 "stdin")
      ->check(tool::readablePath(true))
      ->group(group);
  app.add_option("--tools", options.tools,
                 "JSON file with an array of tools, for the chat template")
      ->check(tool::readablePath())
      ->group(group);
  app.add_flag("--chat", options.chat,
               "Render the prompt with the chat template, as user message")
      ->group(group);
  app.add_option("--system", options.system, "System message before the others")
      ->group(group);
  app.add_option("--template", options.templateFile,
                 "Chat template instead of the model's own")
      ->check(tool::readablePath())
      ->group(group);
  app.add_flag("--parse-special", options.parseSpecial,
               "Recognise special tokens in the prompt's text")
      ->group(group);
  app.add_flag("--print-prompt", options.printPrompt,
               "Print the prompt's text and ids and stop")
      ->group(group);
}

static void addSamplingOptions(CLI::App &app, Options &options) {
  const char *group = "Sampling";
  app.add_option("-n", options.n, "Candidates, 1 to 65536. Default: 1")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--max-tokens", options.maxTokens, "Tokens per candidate")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--temperature", options.temperature,
                 temperatureRange() + "; 0: greedy. Default: the model's, or 1")
      ->group(group);
  app.add_option("--top-k", options.topK,
                 "Keep the k likeliest, 0: off. Default: the model's, or 0")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--top-p", options.topP,
                 "Above 0, to 1. Default: the model's, or 1")
      ->group(group);
  app.add_option("--min-p", options.minP, "0 to 1. Default: the model's, or 0")
      ->group(group);
  app.add_option("--repetition-penalty", options.repetitionPenalty,
                 "0.01 to 100; 1: off")
      ->group(group);
  app.add_option("--presence-penalty", options.presencePenalty, "-100 to 100")
      ->group(group);
  app.add_option("--frequency-penalty", options.frequencyPenalty, "-100 to 100")
      ->group(group);
  app.add_option("--logit-bias", options.logitBias,
                 "ID=V: adds V to a token's logit; repeatable")
      ->group(group)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--min-tokens", options.minTokens,
                 "No stop token before so many")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--seed", options.seed, "0 to 2^64-1")
      ->check(wholeNumber<uint64_t>())
      ->group(group);
  app.add_option("--stop", options.stop,
                 "Text that ends a candidate; repeatable")
      ->group(group)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--ignore-eos", options.ignoreEos,
               "Go on after the model's stop tokens")
      ->group(group);
  app.add_option("--tool", options.tool,
                 "Writes into the text: 'calculator' puts the result behind "
                 "<<expression=")
      ->check(CLI::IsMember({"calculator"}))
      ->group(group);
}

static void addBeamOptions(CLI::App &app, Options &options) {
  const char *group = "Beam search";
  auto *beams =
      app.add_option("--beams", options.beams,
                     "Find the B likeliest continuations instead of sampling, "
                     "1 to 1024")
          ->check(wholeNumber<int64_t>())
          ->group(group);
  app.add_option("--length-penalty", options.lengthPenalty,
                 "Exponent A of the length in a beam's score, 0 to 10")
      ->needs(beams)
      ->group(group);
  app.add_option("--length-form", options.lengthForm,
                 "Scores are log-probabilities divided by ((5+length)/6)^A "
                 "(gnmt) or length^A (power)")
      ->check(CLI::IsMember({"gnmt", "power"}))
      ->needs(beams)
      ->group(group);
}

static void addOutputOptions(CLI::App &app, Options &options) {
  const char *group = "Output";
  app.add_flag("--stream", options.stream, "Print tokens as they come")
      ->group(group);
  app.add_flag("--json", options.json, "One JSON record a line and candidate")
      ->group(group);
  app.add_option("--echo-logprobs", options.echoLogprobs,
                 "With --json: the K likeliest next tokens at each prompt "
                 "token, no generation")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--tokenize-file", options.tokenizeFile,
                 "Print the token ids of the `text` of each line of a JSONL "
                 "file")
      ->check(tool::readablePath(true))
      ->group(group);
  app.add_option("--kernels", options.kernels,
                 "Write the names of the kernels that the run entered to FILE")
      ->type_name("FILE")
      ->group(group);
}

static void addRankingOptions(CLI::App &app, Options &options) {
  const char *group = "Ranking";
  app.add_option("--rank", options.rank,
                 "Order candidates by this score; a verifier is a part of the "
                 "artifact")
      ->check(
          CLI::IsMember({"mean-logprob", "vote", "verifier", "weighted-vote"}))
      ->group(group);
  app.add_option("--top", options.top, "Print only the K best")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--answer-pattern", options.answerPattern,
                 "Regular expression that finds a text's answer: its first "
                 "group, or all of it. Default: GSM8K's #### answer, else the "
                 "whole text")
      ->type_name("RE")
      ->group(group);
  app.add_option("--judges", options.judges,
                 "Times that the verifier is asked; its template sees the "
                 "number as 'judge'. 1 to 64")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--judge-combine", options.judgeCombine,
                 "What several judges' scores become")
      ->check(CLI::IsMember({"min", "mean"}))
      ->group(group);
  app.add_option("--pass-at", options.passAt,
                 "With --jsonl and reference answers: pass@k for these k. "
                 "Default: 1 and n")
      ->delimiter(',')
      ->type_name("K,K,..")
      ->group(group);
}

static void addRequestFileOptions(CLI::App &app, Options &options) {
  const char *group = "Many requests";
  app.add_option("--jsonl", options.jsonl,
                 "File with a request a line: id, prompt or messages or "
                 "prompt_ids, and any sampling fields; - is stdin")
      ->check(tool::readablePath(true))
      ->group(group);
  app.add_option("--out", options.out,
                 "File for the results in the order of the input, - is stdout. "
                 "OUT.journal keeps what is finished until it is complete: the "
                 "same command goes on after any end")
      ->group(group);
  app.add_option("--records", options.records, "Lines of the output: one a")
      ->check(CLI::IsMember({"request", "candidate"}))
      ->group(group);
  app.add_flag("--strict", options.strict,
               "Refuse the file if any line is wrong, before any work")
      ->group(group);
  app.add_flag("--salvage", options.salvage,
               "Run again what is damaged in the journal")
      ->group(group);
}

static void addRunningOptions(CLI::App &app, Options &options) {
  const char *group = "Running";
  app.add_option("--candidate", options.candidate,
                 "Run candidate K alone, as it is among more")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--threads", options.threads,
                 "1 to 1024. Default: one for each core")
      ->check(wholeNumber<int>())
      ->group(group);
  app.add_option("--prefill-chunk", options.prefillChunk,
                 "Prompt tokens in a step, 1 to 65536")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--cpu", options.cpu, "Code to run")
      ->check(
          CLI::IsMember({"auto", "x86-64-v3", "x86-64-v4", "x86-64-v4-amx"}))
      ->group(group);
  app.add_option("--shared-attention", options.sharedAttention,
                 "Candidates attend together to positions that they share")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->group(group);
  app.add_option("--max-batch", options.maxBatch,
                 "Candidates in a step, 1 to 65536")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--late-fork", options.lateFork,
                 "Compute candidates as one while their tokens are equal")
      ->check(CLI::IsMember({"on", "off"}))
      ->group(group);
  app.add_option("--prefix-cache", options.prefixCache,
                 "Keep the cache of prompts for later ones that begin alike")
      ->check(CLI::IsMember({"on", "off"}))
      ->group(group);
  app.add_option("--context", options.context,
                 "Positions, up to the model's. Default: the model's")
      ->check(wholeNumber<int64_t>())
      ->group(group);
  app.add_option("--max-memory", options.maxMemory,
                 "Bytes that a run may need. Default: what the machine has")
      ->check(wholeNumber<uint64_t>())
      ->group(group);
}

static void addReplayOptions(CLI::App &app, Options &options) {
  app.add_option(
         "--replay", options.replay,
         "Run the candidates of these records again, alone, and compare "
         "the bits; - for stdin")
      ->check(tool::readablePath(/*standardInput=*/true))
      ->type_name("FILE")
      ->group("Reproducing");
}

static void addEntryOptions(CLI::App &app, Options &options) {
  const char *group = "Calling an entry with tensors";
  app.add_option("--entry", options.entry, "Name of a plain entry")
      ->group(group);
  app.add_option("--inputs", options.inputs, "Safetensors file to read")
      ->check(tool::readablePath())
      ->group(group);
  app.add_option("--outputs", options.outputs, "Safetensors file to write")
      ->group(group);
}

void run::addOptions(CLI::App &app, Options &options) {
  app.add_option("A.chorus", options.artifact, "Compiled model")
      ->required()
      ->check(tool::readablePath());
  addPromptOptions(app, options);
  addSamplingOptions(app, options);
  addBeamOptions(app, options);
  addOutputOptions(app, options);
  addRankingOptions(app, options);
  addRequestFileOptions(app, options);
  addRunningOptions(app, options);
  addReplayOptions(app, options);
  addEntryOptions(app, options);
}

static rt::Status checkEntryOptions(const Options &options) {
  if (!options.entry && (options.inputs || options.outputs))
    return rt::usageError("--inputs and --outputs need --entry NAME");
  if (options.entry && !(options.inputs && options.outputs))
    return rt::usageError("--entry needs --inputs and --outputs");
  if (options.entry && options.hasPrompt())
    return rt::usageError("--entry takes no prompt");
  return rt::Status();
}

static rt::Status checkReplayOptions(const Options &options) {
  if (options.replay &&
      (options.hasPrompt() || options.jsonl || options.entry ||
       options.tokenizeFile || options.echoLogprobs || options.printPrompt ||
       options.stream || options.n || options.candidate || options.beams ||
       options.rank || options.tool))
    return rt::usageError("--replay takes everything from the records: no "
                          "prompt, number of candidates, rank or other work "
                          "goes with it");
  return rt::Status();
}

static rt::Status checkRequestFileOptions(const Options &options) {
  if (!options.jsonl) {
    if (options.out || options.strict || options.salvage ||
        options.records != "request")
      return rt::usageError(
          "--out, --records, --strict and --salvage need --jsonl");
    return rt::Status();
  }
  if (!options.out)
    return rt::usageError("--jsonl needs --out");
  if (options.hasPrompt() || options.printPrompt)
    return rt::usageError("--jsonl has the prompts; no other is allowed");
  if (options.stream || options.candidate || options.echoLogprobs ||
      options.tokenizeFile || options.entry)
    return rt::usageError("--jsonl does not go with --stream, --candidate, "
                          "--echo-logprobs, --tokenize-file or --entry");
  return rt::Status();
}

static rt::Status checkBeamOptions(const Options &options) {
  if (!options.beams)
    return rt::Status();
  if (options.jsonl || options.stream || options.candidate || options.n ||
      options.rank || options.tool || options.echoLogprobs ||
      !options.hasPrompt())
    return rt::usageError("--beams needs a prompt, and does not go with "
                          "--jsonl, --stream, --candidate, -n, --rank, --tool "
                          "or --echo-logprobs");
  if (options.temperature || options.topK || options.topP || options.minP ||
      options.repetitionPenalty != 1 || options.presencePenalty != 0 ||
      options.frequencyPenalty != 0 || !options.logitBias.empty() ||
      options.minTokens != 0 || !options.stop.empty())
    return rt::usageError("--beams takes the model's distribution as it is: "
                          "of the sampling options, only --max-tokens and "
                          "--ignore-eos go with it");
  return namingOptions(options.beamSearch().validate());
}

static rt::Status checkRankingOptions(const Options &options) {
  rt::JudgeOptions judges;
  judges.judges = options.judges;
  CHORUS_RETURN_IF_ERROR(namingOptions(judges.validate()));
  if (!options.passAt.empty() && !options.jsonl)
    return rt::usageError("--pass-at needs --jsonl, whose lines have answers");
  for (int64_t k : options.passAt)
    if (k < 1 || k > rt::Request::maxCandidates)
      return rt::usageError("--pass-at is " + std::to_string(k) +
                            ", allowed is 1 to " +
                            std::to_string(rt::Request::maxCandidates));
  return rt::Status();
}

rt::Status run::checkOptions(const Options &options) {
  CHORUS_RETURN_IF_ERROR(checkReplayOptions(options));
  CHORUS_RETURN_IF_ERROR(checkBeamOptions(options));
  CHORUS_RETURN_IF_ERROR(checkRankingOptions(options));
  CHORUS_RETURN_IF_ERROR(checkRequestFileOptions(options));
  int prompts = options.prompt.has_value() + options.promptFile.has_value() +
                options.promptIds.has_value() + options.messages.has_value();
  if (prompts > 1)
    return rt::usageError("of --prompt, --prompt-file, --prompt-ids and "
                          "--messages only one is allowed");
  if (options.chat && options.promptIds)
    return rt::usageError("--chat needs a text, not --prompt-ids");
  if (options.chat && options.messages)
    return rt::usageError("--chat makes a message of a prompt; --messages "
                          "gives all messages itself");
  // Without any prompt there is a chat, or a file that may have messages.
  bool rendersChat = options.chat || options.messages || !options.hasPrompt();
  if ((options.system || options.templateFile || options.tools) && !rendersChat)
    return rt::usageError(
        "--system, --template and --tools need --chat or --messages");
  if (options.echoLogprobs && !options.json)
    return rt::usageError("--echo-logprobs needs --json");
  int64_t n = options.n.value_or(1);
  if (n < 1 || n > rt::Request::maxCandidates)
    return rt::usageError("-n is " + std::to_string(n) + ", allowed is 1 to " +
                          std::to_string(rt::Request::maxCandidates));
  if (options.top && *options.top < 1)
    return rt::usageError("--top is " + std::to_string(*options.top) +
                          ", allowed is 1 and up");
  if (options.candidate && *options.candidate < 0)
    return rt::usageError("--candidate is " +
                          std::to_string(*options.candidate) +
                          ", allowed is 0 and up");
  if (options.candidate && options.n && *options.candidate >= n)
    return rt::usageError(
        "--candidate is " + std::to_string(*options.candidate) +
        ", allowed is 0 to " + std::to_string(n - 1) + " (below -n)");
  for (auto [name, given] :
       {std::pair("--threads", options.threads && *options.threads < 1),
        std::pair("--context", options.context && *options.context < 1),
        std::pair("--max-memory", options.maxMemory && *options.maxMemory < 1)})
    if (given)
      return rt::usageError(std::string(name) +
                            " is below 1, allowed is 1 and up");
  CHORUS_RETURN_IF_ERROR(namingOptions(options.engine().validate()));
  return checkEntryOptions(options);
}

rt::EngineOptions Options::engine() const {
  rt::EngineOptions engine;
  engine.threads = threads.value_or(0);
  engine.prefillChunk = prefillChunk;
  engine.maxBatch = maxBatch;
  engine.sharedAttention = sharedAttention == "on" ? rt::SharedAttention::On
                           : sharedAttention == "off"
                               ? rt::SharedAttention::Off
                               : rt::SharedAttention::Auto;
  engine.contextLength = context.value_or(0);
  engine.maxMemory = maxMemory.value_or(0);
  engine.lateFork = lateFork == "on";
  engine.prefixCache = prefixCache == "on";
  return engine;
}

rt::BeamOptions Options::beamSearch() const {
  rt::BeamOptions search;
  search.beams = beams.value_or(search.beams);
  search.lengthPenalty = lengthPenalty;
  search.lengthForm =
      lengthForm == "power" ? rt::LengthForm::Power : rt::LengthForm::GNMT;
  return search;
}

rt::Status run::namingOptions(const rt::Status &status) {
  if (status.exitCode() != rt::ExitCode::Usage)
    return status;
  std::string field = status.message().substr(0, status.message().find(' '));
  for (const char *option : {"max-tokens",
                             "temperature",
                             "top-k",
                             "top-p",
                             "min-p",
                             "repetition-penalty",
                             "presence-penalty",
                             "frequency-penalty",
                             "logit-bias",
                             "min-tokens",
                             "stop",
                             "candidate",
                             "threads",
                             "prefill-chunk",
                             "max-batch",
                             "context",
                             "echo-logprobs",
                             "beams",
                             "length-penalty",
                             "judges"})
    if (field == option)
      return rt::usageError("--" + status.message());
  return status;
}

/// Parses "ID=V".
static rt::Status parseLogitBias(const std::string &text,
                                 std::pair<int32_t, float> &bias) {
  size_t equals = text.find('=');
  const char *begin = text.data(), *end = begin + text.size();
  if (equals != std::string::npos) {
    auto id = std::from_chars(begin, begin + equals, bias.first);
    auto value = std::from_chars(begin + equals + 1, end, bias.second);
    if (id.ec == std::errc() && id.ptr == begin + equals &&
        value.ec == std::errc() && value.ptr == end)
      return rt::Status();
  }
  return rt::usageError("--logit-bias is '" + rt::escapeForMessage(text) +
                        "', needed is ID=V, for instance 50=-1.5");
}

rt::StatusOr<rt::Request>
run::makeRequest(const Options &options,
                 const rt::SamplingDefaultsInfo &defaults) {
  rt::Request request;
  request.candidates = options.candidate ? 1 : options.n.value_or(1);
  request.firstCandidate = options.candidate.value_or(0);
  request.maxTokens = options.maxTokens;
  request.stop = options.stop;
  request.ignoreEos = options.ignoreEos;
  request.calculator = options.tool.has_value();
  rt::SamplingParameters &sampling = request.sampling;
  sampling.seed = options.seed;
  auto choose = [](auto &parameter, const auto &flag, const auto &ofModel) {
    if (flag)
      parameter = *flag;
    else if (ofModel)
      parameter = *ofModel;
  };
  choose(sampling.temperature, options.temperature, defaults.temperature);
  choose(sampling.topK, options.topK, defaults.topK);
  choose(sampling.topP, options.topP, defaults.topP);
  choose(sampling.minP, options.minP, defaults.minP);
  sampling.repetitionPenalty = options.repetitionPenalty;
  sampling.presencePenalty = options.presencePenalty;
  sampling.frequencyPenalty = options.frequencyPenalty;
  sampling.minTokens = options.minTokens;
  for (const std::string &text : options.logitBias) {
    std::pair<int32_t, float> bias;
    CHORUS_RETURN_IF_ERROR(parseLogitBias(text, bias));
    sampling.logitBias.push_back(bias);
  }
  std::sort(sampling.logitBias.begin(), sampling.logitBias.end());
  return request;
}
