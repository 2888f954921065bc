//===- Options.h - The command line of chorus-run ---------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_OPTIONS_H
#define CHORUS_TOOLS_CHORUS_RUN_OPTIONS_H

#include "chorus_rt/Artifact.h"
#include "chorus_rt/Engine.h"
#include "chorus_rt/Generation.h"
#include "chorus_rt/Judge.h"

#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <vector>

namespace chorus::run {

struct Options {
  std::string artifact;

  // Prompt. At most one of the first four.
  std::optional<std::string> prompt, promptFile, promptIds, messages;
  bool chat = false;
  std::optional<std::string> system, templateFile, tools;
  bool parseSpecial = false;
  bool printPrompt = false;

  // Sampling. What is not given comes from the model or from rt::Request.
  std::optional<int64_t> n; ///< Default 1.
  int64_t maxTokens = rt::Request().maxTokens;
  std::optional<double> temperature, topP, minP;
  std::optional<int64_t> topK;
  double repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0;
  std::vector<std::string> logitBias;
  int64_t minTokens = 0;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  bool ignoreEos = false;
  std::optional<std::string> tool;
  std::optional<int64_t> beams;
  double lengthPenalty = rt::BeamOptions().lengthPenalty;
  std::string lengthForm = "gnmt";

  // Output.
  bool stream = false;
  bool json = false;
  std::optional<std::string> rank;
  std::optional<int64_t> top;
  std::optional<std::string> answerPattern;
  int64_t judges = rt::JudgeOptions().judges;
  std::string judgeCombine = "min";
  std::vector<int64_t> passAt;
  std::optional<int64_t> echoLogprobs;
  std::optional<std::string> tokenizeFile;
  std::optional<std::string> kernels;

  // Many requests.
  std::optional<std::string> jsonl, out;
  std::string records = "request";
  bool strict = false;
  bool salvage = false;

  // Running.
  std::optional<int64_t> candidate;
  std::string cpu = "auto";
  std::optional<int> threads; ///< Default: one for each core.
  std::optional<int64_t> context;
  std::optional<uint64_t> maxMemory;
  int64_t prefillChunk = rt::EngineOptions().prefillChunk;
  int64_t maxBatch = rt::EngineOptions().maxBatch;
  std::string lateFork = "on", prefixCache = "on", sharedAttention = "auto";

  /// Records to reproduce.
  std::optional<std::string> replay;

  // Any entry.
  std::optional<std::string> entry, inputs, outputs;

  rt::EngineOptions engine() const;
  /// With --beams.
  rt::BeamOptions beamSearch() const;
  /// Whether records have scores and ranks.
  bool ranks() const { return rank || top || beams; }
  bool hasPrompt() const {
    return prompt || promptFile || promptIds || messages;
  }
};

/// Adds the options to the command line, by groups.
void addOptions(CLI::App &app, Options &options);

/// What the options say beyond each single value's range.
rt::Status checkOptions(const Options &options);

/// A usage error of the runtime, which names fields ("top-p is 2"), with the
/// option's name instead ("--top-p is 2"). Other statuses as they are.
rt::Status namingOptions(const rt::Status &status);

/// The request without its prompt. Flags override the model's own sampling
/// defaults.
rt::StatusOr<rt::Request> makeRequest(const Options &options,
                                      const rt::SamplingDefaultsInfo &defaults);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_OPTIONS_H
