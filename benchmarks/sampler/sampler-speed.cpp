//===- sampler-speed.cpp - What choosing a token costs --------------------===//

#include "chorus_rt/Artifact.h"
#include "chorus_rt/Decoder.h"
#include "chorus_rt/EntryPrograms.h"
#include "chorus_rt/Philox.h"
#include "chorus_rt/Sampler.h"
#include "support/ToolMain.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

using namespace chorus;

namespace {

constexpr int64_t rows = 100, rounds = 15;

struct Setting {
  const char *name;
  double barMicroseconds;
  rt::SamplingParameters parameters;
};

std::vector<Setting> settings() {
  auto make = [](double temperature, int64_t topK, double topP, double minP) {
    rt::SamplingParameters parameters;
    parameters.temperature = temperature;
    parameters.topK = topK;
    parameters.topP = topP;
    parameters.minP = minP;
    return parameters;
  };
  return {{"temperature 0.8", 30, make(0.8, 0, 1, 0)},
          {"temperature 1", 30, make(1, 0, 1, 0)},
          {"temperature 0.8, top-p 0.95", 60, make(0.8, 0, 0.95, 0)},
          {"temperature 0.8, top-k 40, top-p 0.95, min-p 0.02", 30,
           make(0.8, 40, 0.95, 0.02)},
          {"temperature 0.8, min-p 0.05", 30, make(0.8, 0, 1, 0.05)},
          {"greedy", 30, make(0, 0, 1, 0)}};
}

/// The random bits of row `row` in round `round`.
uint32_t random24(uint32_t row, uint32_t round) {
  return rt::philox4x32({0, row, round, 0}, {1, 0})[0] >> 8;
}

/// Logits [rows, vocab] of a text that the model writes itself, at temperature
/// 1 from one token on.
rt::Status writeText(const rt::StepEntryProgram &program,
                     const rt::Sampler &sampler, rt::ScratchBuffer &logits,
                     std::vector<float> &logSumExp) {
  int64_t vocab = program.vocabSize();
  rt::ThreadPool threads(rt::availableCores());
  rt::StatusOr<std::unique_ptr<rt::KVPool>> pool =
      rt::KVPool::create(program.pageBytes(), 2 * rows / CHORUS_PAGE_POSITIONS);
  CHORUS_RETURN_IF_ERROR(pool.status());
  rt::PagedDecoder decoder(program, **pool, threads);
  CHORUS_RETURN_IF_ERROR(
      logits.reserve(static_cast<uint64_t>(rows * vocab) * sizeof(float)));
  logSumExp.resize(rows);
  rt::SamplingParameters parameters;
  rt::Sequence sequence = decoder.newSequence();
  sequence.append(std::vector<int32_t>{1});
  for (uint32_t i = 0; i < rows; ++i) {
    rt::SamplerRow row;
    float *out = logits.as<float>() + i * vocab;
    CHORUS_RETURN_IF_ERROR(
        decoder.step({{&sequence, 1, 1}}, out, &logSumExp[i]));
    row.logits = out;
    row.logSumExp = logSumExp[i];
    row.parameters = &parameters;
    row.random24 = random24(i, rounds);
    rt::SampledToken token = sampler.sample(row);
    CHORUS_RETURN_IF_ERROR(token.status);
    sequence.append(std::vector<int32_t>{token.id});
  }
  return {};
}

/// Microseconds a row: the median of the rounds, each over all rows.
double measure(const rt::Sampler &sampler, const Setting &setting,
               const float *logits, const std::vector<float> &logSumExp,
               int64_t vocab) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (uint32_t round = 0; round < rounds; ++round) {
    Clock::time_point start = Clock::now();
    for (uint32_t i = 0; i < rows; ++i) {
      rt::SamplerRow row;
      row.logits = logits + i * vocab;
      row.logSumExp = logSumExp[i];
      row.parameters = &setting.parameters;
      row.random24 = random24(i, round);
      if (sampler.sample(row).id < 0)
        return -1;
    }
    times.push_back(
        std::chrono::duration<double, std::micro>(Clock::now() - start)
            .count() /
        rows);
  }
  std::sort(times.begin(), times.end());
  return times[rounds / 2];
}

/// Whether all bars are kept.
rt::StatusOr<bool> run(const std::string &path, const std::string &cpu,
                       bool bars) {
  auto artifact = rt::Artifact::open(path);
  CHORUS_RETURN_IF_ERROR(artifact.status());
  auto program = rt::Program::load(*artifact, 0, cpu);
  CHORUS_RETURN_IF_ERROR(program.status());
  if (!(*program)->stepEntry())
    return rt::usageError(path + " has no step entry");
  rt::StepEntryProgram step(*program);
  int64_t vocab = step.vocabSize();
  rt::Sampler sampler(vocab, (*program)->samplingMasses(),
                      (*program)->samplingSums());
  rt::ScratchBuffer logits;
  std::vector<float> logSumExp;
  CHORUS_RETURN_IF_ERROR(writeText(step, sampler, logits, logSumExp));
  bool kept = true;
  for (const Setting &setting : settings()) {
    double time =
        measure(sampler, setting, logits.as<float>(), logSumExp, vocab);
    std::printf("%s: %6.1f us a row of %lld", cpu.c_str(), time,
                static_cast<long long>(vocab));
    if (bars) {
      bool good = time >= 0 && time <= setting.barMicroseconds;
      std::printf(" (at most %.0f: %s)", setting.barMicroseconds,
                  good ? "reached" : "missed");
      kept &= good;
    }
    std::printf("  %s\n", setting.name);
  }
  return kept;
}

} // namespace

int main(int argc, char **argv) {
  std::string artifact, cpu = "auto";
  bool bars = false, kept = true;
  tool::ToolDescription description;
  description.name = "sampler-speed";
  description.summary = "Times the choice of a token on rows of a model.";
  int exitCode = tool::runTool(
      argc, argv, description,
      [&](CLI::App &app) {
        app.add_option("A.chorus", artifact, "A language model")
            ->required()
            ->check(tool::readablePath());
        app.add_option("--cpu", cpu, "Code to run");
        app.add_flag("--bars", bars, "Compare with the bars");
      },
      [&](tool::Console &) -> rt::Status {
        rt::StatusOr<bool> done = run(artifact, cpu, bars);
        CHORUS_RETURN_IF_ERROR(done.status());
        kept = *done;
        return {};
      });
  return exitCode == 0 && !kept ? 1 : exitCode;
}
