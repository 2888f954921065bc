//===- Judge.cpp - Scores candidates with a verifier ----------------------===//

#include "chorus_rt/Judge.h"

#include "chorus_rt/Prompt.h"

#include <algorithm>
#include <map>
#include <new>
#include <nlohmann/json.hpp>

namespace chorus::rt {

using Json = nlohmann::ordered_json;

Status JudgeOptions::validate() const {
  if (judges < 1 || judges > 64)
    return usageError("judges is " + std::to_string(judges) +
                      ", allowed is 1 to 64");
  return Status();
}

static Status outOfMemory() {
  return limitError("N10", "verifier", "out of memory");
}

StatusOr<Judge> Judge::create(Engine &engine, std::string_view templateText,
                              std::string_view score,
                              const JudgeOptions &options) try {
  CHORUS_RETURN_IF_ERROR(options.validate());
  if (!engine.tokenizer())
    return unsupported("verifier", "the model has no tokenizer");
  if (!engine.program().scalarFunctions())
    return unsupported("verifier", "the model was compiled before there were "
                                   "scores; compile it again");
  StatusOr<ChatTemplate> source =
      ChatTemplate::parse(std::string(templateText));
  CHORUS_RETURN_IF_ERROR(source.status());
  StatusOr<ScoreExpression> expression = ScoreExpression::parse(score);
  CHORUS_RETURN_IF_ERROR(expression.status());
  StatusOr<std::vector<int32_t>> tokens =
      expression->tokens(*engine.tokenizer());
  CHORUS_RETURN_IF_ERROR(tokens.status());
  return Judge(engine, std::move(*source), std::move(*expression),
               std::move(*tokens), options);
} catch (const std::bad_alloc &) {
  return outOfMemory();
}

/// The same as an error of one candidate.
static Status ofCandidate(const Status &status) {
  return Status::error(ExitCode::SomeRecordsFailed, status.code(),
                       status.place().empty() ? "verifier"
                                              : "verifier: " + status.place(),
                       status.message());
}

StatusOr<JudgeTask> Judge::submit(const Json &messages,
                                  const std::vector<std::string> &texts) try {
  JudgeTask task;
  std::map<std::vector<int32_t>, size_t> known;
  Json variables;
  variables["question"] = lastUserText(messages);
  variables["messages"] = messages;
  for (const std::string &text : texts) {
    JudgeTask::Verdict &verdict = task.candidates.emplace_back();
    variables["candidate"] = text;
    for (int64_t judge = 0; judge < options.judges && verdict.error.ok();
         ++judge) {
      variables["judge"] = judge;
      StatusOr<Prompt> prompt =
          promptFromTemplate(*engine->tokenizer(), source, variables);
      if (!prompt.ok()) {
        verdict.error = ofCandidate(prompt.status());
        break;
      }
      auto [place, isNew] = known.emplace(prompt->ids, task.requests.size());
      verdict.prompts.push_back(place->second);
      if (!isNew)
        continue;
      Request request;
      request.candidates = 0;
      request.scoredTokens = tokens;
      request.prompt = std::move(prompt->ids);
      StatusOr<int64_t> number = engine->submit(std::move(request));
      if (!number.ok()) {
        verdict.error = ofCandidate(number.status());
        known.erase(place);
        break;
      }
      task.requests.push_back(*number);
    }
  }
  return task;
} catch (const std::bad_alloc &) {
  return outOfMemory();
}

bool Judge::isFinished(const JudgeTask &task) const {
  return std::all_of(
      task.requests.begin(), task.requests.end(),
      [&](int64_t request) { return engine->isFinished(request); });
}

StatusOr<double> Judge::evaluate(const Generation &generation) const {
  if (!generation.scoreError.ok())
    return ofCandidate(generation.scoreError);
  if (generation.scores.size() != tokens.size())
    return Status::error(ExitCode::SomeRecordsFailed, "cancelled", "verifier",
                         "cancelled");
  const ScalarFunctions &functions = engine->program().scalarFunctions();
  std::vector<double> probabilities;
  probabilities.reserve(generation.scores.size());
  // Rounding may make a certain token's log-probability positive.
  for (float logprob : generation.scores)
    probabilities.push_back(
        functions.exp(std::min(static_cast<double>(logprob), 0.0)));
  return expression.evaluate(probabilities, functions);
}

std::vector<StatusOr<double>> Judge::take(const JudgeTask &task) {
  std::vector<StatusOr<double>> byPrompt, scores;
  byPrompt.reserve(task.requests.size());
  for (int64_t request : task.requests)
    byPrompt.push_back(evaluate(engine->take(request)));
  for (const JudgeTask::Verdict &verdict : task.candidates) {
    Status error = verdict.error;
    double sum = 0, least = 0;
    for (size_t i = 0; i < verdict.prompts.size() && error.ok(); ++i) {
      StatusOr<double> &score = byPrompt[verdict.prompts[i]];
      error = score.status();
      if (!error.ok())
        break;
      sum += *score;
      least = i == 0 ? *score : std::min(least, *score);
    }
    if (!error.ok())
      scores.push_back(error);
    else if (options.combination == JudgeCombination::Min)
      scores.push_back(least);
    else
      scores.push_back(sum / static_cast<double>(verdict.prompts.size()));
  }
  return scores;
}

StatusOr<std::vector<StatusOr<double>>>
Judge::score(const Json &messages, const std::vector<std::string> &texts,
             const std::function<bool()> &shouldCancel) try {
  StatusOr<JudgeTask> task = submit(messages, texts);
  CHORUS_RETURN_IF_ERROR(task.status());
  Status status;
  bool cancelled = false;
  while (status.ok() && !cancelled && !isFinished(*task)) {
    status = engine->step();
    cancelled = shouldCancel && shouldCancel();
  }
  // After an error all requests are cancelled.
  for (int64_t request : task->requests)
    engine->cancel(request);
  std::vector<StatusOr<double>> scores = take(*task);
  CHORUS_RETURN_IF_ERROR(status);
  if (cancelled)
    scores.clear();
  return scores;
} catch (const std::bad_alloc &) {
  return outOfMemory();
}

} // namespace chorus::rt
