//===- scoring-speed.cpp - Scores of many candidates of one question ------===//
//
// Times the scoring of candidates behind a question whose pages are cached, as
// a verifier does it, and beside it the prefill of one long prompt behind the
// same question. One JSON object a pair.
//
//===----------------------------------------------------------------------===//

#include "chorus-bench/Limits.h"
#include "chorus_rt/Engine.h"
#include "support/ToolMain.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <random>

using namespace chorus;

using Json = nlohmann::ordered_json;

namespace {

struct Options {
  std::string artifact, cpu = "auto";
  int threads = 0, pairs = 5;
  int64_t question = 1024, candidates = 64, candidateTokens = 128, tail = 512;
};

class Measurement {
public:
  Measurement(rt::Engine &engine, const Options &options)
      : engine(engine), options(options) {}

  rt::Status run() {
    for (int i = 0; i < options.pairs; ++i)
      CHORUS_RETURN_IF_ERROR(pair());
    return {};
  }

private:
  std::vector<int32_t> randomTokens(int64_t count) {
    std::uniform_int_distribution<int32_t> token(
        1000, static_cast<int32_t>(engine.program().model().vocabSize) - 1);
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t &each : tokens)
      each = token(random);
    return tokens;
  }

  /// Seconds until all of these texts behind the question are scored.
  rt::StatusOr<double> score(int64_t texts, int64_t tokens) {
    std::vector<rt::Request> requests;
    for (int64_t i = 0; i < texts; ++i) {
      rt::Request request;
      request.prompt = question;
      for (int32_t token : randomTokens(tokens))
        request.prompt.push_back(token);
      request.candidates = 0;
      request.scoredTokens = {1, 2};
      requests.push_back(std::move(request));
    }
    uint64_t rows = engine.counters().rowsComputed;
    auto begin = std::chrono::steady_clock::now();
    for (rt::Request &request : requests)
      CHORUS_RETURN_IF_ERROR(engine.submit(std::move(request)).status());
    while (!engine.idle())
      CHORUS_RETURN_IF_ERROR(engine.step());
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
            .count();
    while (std::optional<int64_t> done = engine.nextFinished())
      CHORUS_RETURN_IF_ERROR(engine.take(*done).scoreError);
    rowsComputed = engine.counters().rowsComputed - rows;
    return seconds;
  }

  /// A score of `texts` texts; of the question nothing is computed again.
  rt::StatusOr<double> tokensPerSecond(int64_t texts, int64_t tokens) {
    rt::StatusOr<double> seconds = score(texts, tokens);
    CHORUS_RETURN_IF_ERROR(seconds.status());
    if (rowsComputed != static_cast<uint64_t>(texts * tokens))
      return rt::Status::error(rt::ExitCode::Internal, "rows", "",
                               std::to_string(rowsComputed) +
                                   " rows were computed, expected are " +
                                   std::to_string(texts * tokens));
    return static_cast<double>(rowsComputed) / *seconds;
  }

  rt::Status pair() {
    question = randomTokens(options.question);
    // Its pages are kept.
    CHORUS_RETURN_IF_ERROR(score(1, 1).status());
    // The prefill is shorter: some before, some behind.
    double prefill = 0;
    rt::StatusOr<double> scoring = 0.0;
    for (int part = 0; part < 5; ++part) {
      if (part == 2) {
        scoring = tokensPerSecond(options.candidates, options.candidateTokens);
        CHORUS_RETURN_IF_ERROR(scoring.status());
        continue;
      }
      rt::StatusOr<double> one = tokensPerSecond(1, options.tail);
      CHORUS_RETURN_IF_ERROR(one.status());
      prefill += *one / 4;
    }
    std::printf("%s\n",
                Json{{"scoring_tok_s", *scoring}, {"prefill_tok_s", prefill}}
                    .dump()
                    .c_str());
    std::fflush(stdout);
    return {};
  }

  rt::Engine &engine;
  const Options &options;
  std::mt19937_64 random{20261125};
  std::vector<int32_t> question;
  uint64_t rowsComputed = 0;
};

rt::Status measure(const Options &options) {
  rt::StatusOr<std::shared_ptr<const rt::Artifact>> artifact =
      rt::Artifact::open(options.artifact);
  CHORUS_RETURN_IF_ERROR(artifact.status());
  rt::EngineOptions engineOptions;
  engineOptions.threads = options.threads;
  rt::StatusOr<std::unique_ptr<rt::Engine>> engine =
      rt::Engine::open(*artifact, 0, options.cpu, engineOptions);
  CHORUS_RETURN_IF_ERROR(engine.status());
  rt::StatusOr<bench::Limits> limits =
      bench::measureLimits(options.threads, uint64_t(256) << 20);
  CHORUS_RETURN_IF_ERROR(limits.status());
  std::printf("%s\n", Json{{"read_GB_s", limits->readBytesPerSecond * 1e-9},
                           {"int8_GOP_s", limits->int8OpsPerSecond * 1e-9},
                           {"f32_GFLOP_s", limits->f32OpsPerSecond * 1e-9}}
                          .dump()
                          .c_str());
  return Measurement(**engine, options).run();
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  tool::ToolDescription description;
  description.name = "scoring-speed";
  description.summary = "Times the scoring of many candidates of one question.";
  return tool::runTool(
      argc, argv, description,
      [&](CLI::App &app) {
        app.add_option("A.chorus", options.artifact, "Of a language model")
            ->required()
            ->check(tool::readablePath());
        app.add_option("--cpu", options.cpu, "Code to run");
        app.add_option("--threads", options.threads,
                       "Default: one for each core")
            ->check(CLI::Range(1, rt::ThreadPool::maxThreads));
        app.add_option("--pairs", options.pairs, "Measurements")
            ->check(CLI::Range(1, 100));
        app.add_option("--question", options.question, "Tokens that are cached")
            ->check(CLI::Range(1, 1000000));
        app.add_option("--candidates", options.candidates, "Texts to score")
            ->check(CLI::Range(1, 100000));
        app.add_option("--candidate-tokens", options.candidateTokens,
                       "Tokens of each")
            ->check(CLI::Range(1, 1000000));
        app.add_option("--tail", options.tail,
                       "Tokens of the one prompt behind the question")
            ->check(CLI::Range(1, 1000000));
      },
      [&](tool::Console &) -> rt::Status {
        if (options.threads == 0)
          options.threads = rt::availableCores();
        return measure(options);
      });
}
