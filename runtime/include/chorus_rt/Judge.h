//===- Judge.h - Scores candidates with a verifier --------------*- C++ -*-===//
//
// A verifier reads a template that shows it the question and one candidate, and
// the score is an expression of the probabilities of its next token.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_JUDGE_H
#define CHORUS_RT_JUDGE_H

#include "chorus_rt/ChatTemplate.h"
#include "chorus_rt/Engine.h"
#include "chorus_rt/ScoreExpression.h"
#include "chorus_rt/Status.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// How the scores of several judges become one.
enum class JudgeCombination { Min, Mean };

struct JudgeOptions {
  /// The template is rendered once for each judge, who differ in its variable
  /// `judge` only. 1 to 64.
  int64_t judges = 1;
  JudgeCombination combination = JudgeCombination::Min;

  /// Usage error that names the field and its range.
  Status validate() const;
};

/// Candidates of one question on their way through the verifier.
struct JudgeTask {
  struct Verdict {
    /// Why there is no score.
    Status error;
    /// Of each judge, its place in `requests`.
    std::vector<size_t> prompts;
  };
  std::vector<Verdict> candidates;
  /// Numbers of the engine's requests: equal prompts are read once.
  std::vector<int64_t> requests;
};

/// A verifier. Not thread safe, as its engine.
class Judge {
public:
  /// `engine` runs the verifier and outlives the judge; it may run other
  /// requests as well. Errors: those of ChatTemplate and ScoreExpression,
  /// usage for options out of range, `unsupported` for a model without
  /// tokenizer or whose code is too old for scores.
  static StatusOr<Judge> create(Engine &engine, std::string_view templateText,
                                std::string_view score,
                                const JudgeOptions &options);

  /// Submits the prompts of all candidates' texts at once: the engine shares
  /// what they have in common and fills its steps with them. `messages` is what
  /// parseMessages gives; the template sees it as `messages`, its last user
  /// text as `question`, a text as `candidate`, the number of the judge from 0
  /// as `judge`. What is wrong with a single candidate stands in the task.
  StatusOr<JudgeTask> submit(const nlohmann::ordered_json &messages,
                             const std::vector<std::string> &texts);

  /// Whether the engine has finished all that the task waits for.
  bool isFinished(const JudgeTask &task) const;

  /// The scores of a finished task, in the order of its texts; its requests are
  /// taken from the engine. A score that cannot be computed is an error (exit
  /// code 1): N08 of ScoreExpression, N01, or what is wrong with its prompt.
  std::vector<StatusOr<double>> take(const JudgeTask &task);

  /// submit(), steps of the engine until it has finished, take(). Empty if
  /// `shouldCancel`, which may be empty, said so. Errors: the engine's.
  StatusOr<std::vector<StatusOr<double>>>
  score(const nlohmann::ordered_json &messages,
        const std::vector<std::string> &texts,
        const std::function<bool()> &shouldCancel = nullptr);

private:
  Judge(Engine &engine, ChatTemplate source, ScoreExpression expression,
        std::vector<int32_t> tokens, JudgeOptions options)
      : engine(&engine), source(std::move(source)),
        expression(std::move(expression)), tokens(std::move(tokens)),
        options(options) {}

  StatusOr<double> evaluate(const Generation &generation) const;

  Engine *engine;
  ChatTemplate source;
  ScoreExpression expression;
  std::vector<int32_t> tokens; ///< Of the expression's texts.
  JudgeOptions options;
};

} // namespace chorus::rt

#endif // CHORUS_RT_JUDGE_H
