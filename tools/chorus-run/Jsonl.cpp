//===- Jsonl.cpp - Requests of a file -------------------------------------===//

#include "Jsonl.h"

#include "Cancellation.h"
#include "Input.h"
#include "Output.h"

#include "chorus_rt/CandidateRanker.h"
#include "chorus_rt/JsonlRun.h"
#include "chorus_rt/StopStrings.h"

#include <nlohmann/json.hpp>

#include <chrono>

using namespace chorus;
using namespace chorus::run;

using Json = nlohmann::ordered_json;

namespace {

/// Makes the prompts of a file's lines, as the flags make that of one prompt.
class PromptMaker {
public:
  PromptMaker(const rt::Engine &engine, const Options &options, Json tools)
      : tokenizer(engine.tokenizer()), options(options),
        tools(std::move(tools)) {
    rt::StatusOr<std::string> source =
        chatTemplate(options, engine.program().model());
    templateStatus = source.status();
    if (source.ok())
      templateSource = std::move(*source);
  }

  /// Why no line could use the template that --template gives.
  rt::Status checkTemplate() const {
    if (!options.templateFile)
      return rt::Status();
    CHORUS_RETURN_IF_ERROR(templateStatus);
    return rt::ChatTemplate::parse(templateSource).status();
  }

  rt::StatusOr<std::vector<int32_t>> operator()(const rt::RequestLine &line) {
    if (line.promptIds)
      return *line.promptIds;
    if (!tokenizer)
      return rt::unsupported("tokenizer",
                             "the model has none; prompt_ids takes token ids");
    rt::StatusOr<rt::Prompt> prompt = render(line);
    CHORUS_RETURN_IF_ERROR(prompt.status());
    return std::move(prompt->ids);
  }

  /// What prompts depend on besides the lines and the model.
  rt::JournalFingerprint fingerprint() const {
    rt::JournalFingerprint all = {
        {"chat", options.chat ? "true" : "false"},
        {"parse_special", options.parseSpecial ? "true" : "false"}};
    if (options.system)
      all.emplace_back("system", Json(*options.system).dump());
    if (options.templateFile) {
      rt::StatusOr<rt::Sha256Digest> digest =
          rt::sha256(templateSource.data(), templateSource.size());
      all.emplace_back("template", digest.ok() ? rt::toHex(*digest) : "");
    }
    if (options.tools)
      all.emplace_back("tools", tools.dump());
    return all;
  }

  /// What a verifier's template sees of a line: its messages, or its text as a
  /// message of the user.
  rt::StatusOr<Json> messagesOf(const rt::RequestLine &line) const {
    Json messages = Json::array();
    if (line.promptIds)
      return messages;
    if (options.system)
      messages.push_back({{"role", "system"}, {"content", *options.system}});
    if (line.messages) {
      rt::StatusOr<Json> given = rt::parseMessages(*line.messages, "messages");
      CHORUS_RETURN_IF_ERROR(given.status());
      for (Json &message : *given)
        messages.push_back(std::move(message));
    } else {
      messages.push_back(
          {{"role", "user"}, {"content", line.prompt.value_or("")}});
    }
    return messages;
  }

private:
  rt::StatusOr<rt::Prompt> render(const rt::RequestLine &line) {
    if (!line.messages && !options.chat)
      return rt::promptFromText(*tokenizer, line.prompt.value_or(""),
                                options.parseSpecial);
    CHORUS_RETURN_IF_ERROR(templateStatus);
    rt::StatusOr<Json> messages = messagesOf(line);
    CHORUS_RETURN_IF_ERROR(messages.status());
    return rt::promptFromMessages(*tokenizer, templateSource, *messages, tools,
                                  options.parseSpecial);
  }

  const rt::Tokenizer *tokenizer;
  const Options &options;
  Json tools;
  rt::Status templateStatus;
  std::string templateSource;
};

/// "12 of 40 requests, 350 tokens/s, 3 min left".
class ProgressText {
public:
  std::string operator()(const rt::JsonlProgress &progress) const {
    double seconds =
        std::chrono::duration<double>(Clock::now() - start).count();
    std::string text = std::to_string(progress.finished) + " of " +
                       std::to_string(progress.requests) + " requests";
    if (seconds < 1)
      return text;
    text += ", " + shortNumber(static_cast<double>(progress.tokens) / seconds) +
            " tokens/s";
    int64_t done = progress.finished - progress.found;
    int64_t left = progress.requests - progress.finished;
    if (done > 0)
      text += ", " +
              duration(seconds * static_cast<double>(left) /
                       static_cast<double>(done)) +
              " left";
    return text;
  }

private:
  using Clock = std::chrono::steady_clock;

  static std::string shortNumber(double value) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, value < 10 ? "%.1f" : "%.0f", value);
    return buffer;
  }
  static std::string duration(double seconds) {
    if (seconds < 100)
      return shortNumber(seconds) + " s";
    if (seconds < 100 * 60)
      return shortNumber(seconds / 60) + " min";
    return shortNumber(seconds / 3600) + " h";
  }

  Clock::time_point start = Clock::now();
};

} // namespace

/// The records of a finished request, its votes, and how often a choice of k
/// candidates has the right answer.
static rt::RequestText describe(const Options &options,
                                const rt::RecordContext &context,
                                const rt::Generation &generation,
                                const rt::Ranking &ranking) {
  rt::RequestText text;
  for (size_t i = 0; i < generation.candidates.size(); ++i) {
    const rt::CandidateRanking *ranked =
        options.ranks() ? &ranking.candidates[i] : nullptr;
    text.records.push_back(
        {ranked ? ranked->rank : 0,
         rt::recordLine(context, generation.candidates[i], ranked)});
  }
  text.members = ",\"votes\":" + rt::votesArray(ranking.votes);
  if (!ranking.passAtK.empty())
    text.members += ",\"pass_at_k\":" + rt::passAtKObject(ranking.passAtK);
  text.failure = ranking.failure;
  return text;
}

static rt::RankOptions rankOptions(const Options &options) {
  rt::RankOptions all;
  if (options.rank)
    all.rule = rt::findRankRule(*options.rank).value_or(all.rule);
  all.answerPattern = options.answerPattern;
  all.judges.judges = options.judges;
  if (options.judgeCombine == "mean")
    all.judges.combination = rt::JudgeCombination::Mean;
  all.passAt = options.passAt;
  all.shouldCancel = cancelRequested;
  return all;
}

/// What ranks depend on besides artifact and candidates.
static rt::JournalFingerprint fingerprint(const rt::CandidateRanker &ranker,
                                          const Options &options) {
  rt::JournalFingerprint all;
  if (options.rank || options.top)
    all.emplace_back("rank", options.rank.value_or("mean-logprob"));
  if (options.answerPattern)
    all.emplace_back("answer_pattern", Json(*options.answerPattern).dump());
  if (ranker.hasJudge()) {
    all.emplace_back("judges", std::to_string(options.judges));
    all.emplace_back("judge_combine", options.judgeCombine);
  }
  if (!options.passAt.empty())
    all.emplace_back("pass_at", Json(options.passAt).dump());
  return all;
}

static rt::Status stopped(const rt::JsonlOutcome &outcome, bool journaled) {
  rt::Status status = cancellationStatus();
  std::string message = status.message() + "; " +
                        std::to_string(outcome.progress.finished) + " of " +
                        std::to_string(outcome.progress.requests) +
                        " requests are finished";
  if (journaled)
    message += ", the same command goes on from there";
  return rt::Status::error(status.exitCode(), status.code(), status.place(),
                           message);
}

rt::Status run::runRequestFile(rt::Engine &engine, const Options &options,
                               tool::Console &console) {
  rt::StatusOr<rt::Request> defaults =
      makeRequest(options, engine.program().model().sampling);
  CHORUS_RETURN_IF_ERROR(defaults.status());
  // A wrong flag is no line's fault.
  CHORUS_RETURN_IF_ERROR(
      defaults->validate(engine.program().model().vocabSize));
  CHORUS_RETURN_IF_ERROR(rt::StopStrings::create(defaults->stop).status());
  rt::StatusOr<Json> tools = readTools(options);
  CHORUS_RETURN_IF_ERROR(tools.status());
  PromptMaker promptOf(engine, options, std::move(*tools));
  CHORUS_RETURN_IF_ERROR(promptOf.checkTemplate());
  rt::JsonlOptions run;
  run.input = options.jsonl.value_or("");
  run.output = options.out.value_or("");
  run.recordPerCandidate = options.records == "candidate";
  run.strict = options.strict;
  run.salvage = options.salvage;
  run.top = options.top;
  run.defaults = *defaults;
  run.parameters = promptOf.fingerprint();
  rt::StatusOr<rt::CandidateRanker> ranker =
      rt::CandidateRanker::create(engine, rankOptions(options));
  CHORUS_RETURN_IF_ERROR(ranker.status());
  run.defaults.values = ranker->needsValues();
  for (auto &parameter : fingerprint(*ranker, options))
    run.parameters.push_back(std::move(parameter));
  run.candidatesAhead = 2 * options.maxBatch;

  ProgressText progressText;
  rt::JsonlHooks hooks;
  hooks.promptOf =
      [&](const rt::RequestLine &line) -> rt::StatusOr<std::vector<int32_t>> {
    // Before the work: what its line's error is must not end the run.
    if (line.answer)
      CHORUS_RETURN_IF_ERROR(ranker->checkReference(*line.answer));
    return promptOf(line);
  };
  hooks.describe =
      [&](const rt::RequestLine &line, const rt::RecordContext &context,
          const rt::Generation &generation) -> rt::StatusOr<rt::RequestText> {
    // The line was rendered once: its messages are right.
    rt::StatusOr<Json> messages = promptOf.messagesOf(line);
    CHORUS_RETURN_IF_ERROR(messages.status());
    rt::StatusOr<rt::Ranking> ranking =
        ranker->rank(generation.candidates, *messages, line.answer);
    CHORUS_RETURN_IF_ERROR(ranking.status());
    return describe(options, context, generation, *ranking);
  };
  if (!options.ranks())
    hooks.describeCandidate =
        [](const rt::RequestLine &, const rt::RecordContext &context,
           const rt::Candidate &candidate) -> rt::StatusOr<rt::RequestText> {
      rt::RequestText text;
      text.records.push_back({0, rt::recordLine(context, candidate)});
      text.failure = candidate.error;
      return text;
    };
  hooks.shouldCancel = cancelRequested;
  hooks.onProgress = [&](const rt::JsonlProgress &progress) {
    console.progress(progressText(progress));
  };
  hooks.note = [&](const std::string &text) { console.note(text); };
  hooks.print = [](std::string_view text) {
    CHORUS_RETURN_IF_ERROR(print(text));
    return flushOutput();
  };
  rt::StatusOr<rt::JsonlOutcome> outcome = rt::runJsonl(engine, run, hooks);
  console.clearProgress();
  CHORUS_RETURN_IF_ERROR(outcome.status());
  if (outcome->cancelled)
    return stopped(*outcome, run.output != "-");
  return outcome->firstFailure;
}
