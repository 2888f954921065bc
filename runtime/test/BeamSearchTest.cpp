//===- BeamSearchTest.cpp -------------------------------------------------===//

#include "chorus_rt/BeamSearch.h"
#include "FakeModel.h"
#include "GoldenFile.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

using namespace chorus::rt;

namespace {

void mapExp(const double *x, int64_t count, double *result) {
  for (int64_t i = 0; i < count; ++i)
    result[i] = std::exp(x[i]);
}

void mapLog(const double *x, int64_t count, double *result) {
  for (int64_t i = 0; i < count; ++i)
    result[i] = std::log(x[i]);
}

const ScalarFunctions functions{mapExp, mapLog};

/// The logits after a token are a row of a table.
class TableProgram : public SequenceProgram {
public:
  TableProgram(std::vector<float> table, int64_t vocab)
      : table(std::move(table)), vocab(vocab) {}

  int64_t vocabSize() const override { return vocab; }
  uint64_t arenaBytes(int64_t) const override { return 64; }
  Status run(const std::vector<int32_t> &tokens, uint8_t *,
             const chorus_runtime_api &, float *logits, float *logSumExp,
             float *) const override {
    for (int32_t token : tokens) {
      double sum = 0;
      for (int64_t i = 0; i < vocab; ++i) {
        *logits = table[static_cast<size_t>(token * vocab + i)];
        sum += std::exp(double(*logits++));
      }
      *logSumExp++ = static_cast<float>(std::log(sum));
    }
    return Status();
  }

private:
  std::vector<float> table;
  int64_t vocab;
};

/// The number that follows `name` in a text.
double numberAfter(const std::string &text, const std::string &name) {
  size_t at = text.find(name);
  EXPECT_NE(at, std::string::npos) << name;
  return std::stod(text.substr(at + name.size()));
}

TEST(BeamSearch, Goldens) {
  int cases = 0;
  for (const auto &entry : std::filesystem::directory_iterator(
           CHORUS_SOURCE_DIR "/test/data/beam")) {
    std::string name = entry.path().stem().string();
    SCOPED_TRACE(name);
    GoldenFile golden(entry.path().string());
    ASSERT_TRUE(golden.ok());
    int64_t vocab = golden.shape("table")[0];
    std::vector<int64_t> shape = golden.shape("tokens");
    TableProgram program(golden.read<float>("table"), vocab);
    ThreadPool threads(2);
    RecomputingDecoder decoder(program, threads);
    BeamTask task;
    task.prompt = {0};
    std::string semantics = golden.metadata("semantics");
    task.maxTokens = static_cast<int64_t>(numberAfter(semantics, "at most "));
    task.stopIds = {static_cast<int32_t>(vocab - 1)};
    task.options.beams = shape[0];
    task.options.lengthPenalty = numberAfter(semantics, "alpha=");
    task.options.lengthForm = semantics.find("form=power") == std::string::npos
                                  ? LengthForm::GNMT
                                  : LengthForm::Power;
    StatusOr<std::vector<Beam>> beams =
        beamSearch(decoder, threads, task, functions);
    ASSERT_TRUE(beams.ok()) << beams.status().line("");
    ASSERT_EQ(beams->size(), static_cast<size_t>(shape[0]));
    std::vector<int32_t> tokens = golden.read<int32_t>("tokens");
    std::vector<double> score = golden.read<double>("score_f64"),
                        sum = golden.read<double>("sum_logprob_f64");
    for (size_t rank = 0; rank < beams->size(); ++rank) {
      const Beam &beam = (*beams)[rank];
      std::vector<int32_t> padded = beam.tokens;
      padded.resize(static_cast<size_t>(shape[1]), -1);
      EXPECT_EQ(padded, std::vector<int32_t>(
                            tokens.begin() + static_cast<std::ptrdiff_t>(
                                                 rank * padded.size()),
                            tokens.begin() + static_cast<std::ptrdiff_t>(
                                                 (rank + 1) * padded.size())));
      // The least of the goldens' tolerances.
      EXPECT_NEAR(beam.score, score[rank], 2e-6);
      EXPECT_NEAR(beam.sumLogprob, sum[rank], 5e-6);
      EXPECT_EQ(beam.stopped, beam.tokens.back() == task.stopIds[0]);
      EXPECT_EQ(beam.logprobs.size(), beam.tokens.size());
    }
    ++cases;
  }
  EXPECT_EQ(cases, 7);
}

/// Over pages and without a cache, by chunks and at once: the same beams. Their
/// pages are back at the end.
TEST(BeamSearch, ForksPagesOfTheCache) {
  constexpr int64_t vocab = 50;
  BeamTask task;
  for (int32_t i = 0; i < 70; ++i)
    task.prompt.push_back(i * 7 % vocab);
  task.maxTokens = 40;
  task.stopIds = {3, 11};
  task.options.beams = 6;
  task.options.lengthPenalty = 0.8;
  ThreadPool threads(2);
  FakeSequenceProgram whole(vocab);
  RecomputingDecoder recomputing(whole, threads);
  StatusOr<std::vector<Beam>> expected =
      beamSearch(recomputing, threads, task, functions);
  ASSERT_TRUE(expected.ok());
  ASSERT_EQ(expected->size(), 6u);
  FakeStepProgram paged(vocab);
  for (int64_t chunk : {1, 7, 512}) {
    auto pool = KVPool::create(paged.pageBytes(), 200);
    ASSERT_TRUE(pool.ok());
    PagedDecoder decoder(paged, **pool, threads);
    task.prefillChunk = chunk;
    StatusOr<std::vector<Beam>> beams =
        beamSearch(decoder, threads, task, functions);
    ASSERT_TRUE(beams.ok()) << beams.status().line("");
    ASSERT_EQ(beams->size(), expected->size());
    for (size_t i = 0; i < beams->size(); ++i) {
      EXPECT_EQ((*beams)[i].tokens, (*expected)[i].tokens);
      EXPECT_EQ((*beams)[i].score, (*expected)[i].score);
    }
    EXPECT_EQ((*pool)->pagesInUse(), 0);
    // The prompt once, and what the beams need beyond it.
    EXPECT_LE((*pool)->peakPages(), 2 + 2 * 6 * 3);
  }
}

TEST(BeamSearch, FewerTokensThanBeams) {
  TableProgram program({0, 1, 2, 0, 0, 1, 0, 0, 0}, 3);
  ThreadPool threads(1);
  RecomputingDecoder decoder(program, threads);
  BeamTask task;
  task.prompt = {0};
  task.maxTokens = 1;
  task.options.beams = 8;
  StatusOr<std::vector<Beam>> beams =
      beamSearch(decoder, threads, task, functions);
  ASSERT_TRUE(beams.ok());
  ASSERT_EQ(beams->size(), 3u);
  EXPECT_EQ((*beams)[0].tokens, std::vector<int32_t>{2});
  EXPECT_FALSE((*beams)[0].stopped);
}

TEST(BeamSearch, N01NaNEndsTheSearch) {
  TableProgram program({0, 0, NAN, 0}, 2);
  ThreadPool threads(1);
  RecomputingDecoder decoder(program, threads);
  BeamTask task;
  task.prompt = {0};
  task.maxTokens = 3;
  EXPECT_EQ(beamSearch(decoder, threads, task, functions).status().code(),
            "N01");
}

TEST(BeamSearch, Options) {
  BeamOptions options;
  EXPECT_TRUE(options.validate().ok());
  options.beams = 0;
  EXPECT_EQ(options.validate().code(), "usage");
  options.beams = 1025;
  EXPECT_EQ(options.validate().code(), "usage");
  options.beams = 1;
  options.lengthPenalty = NAN;
  EXPECT_EQ(options.validate().code(), "usage");
  options.lengthPenalty = -0.5;
  EXPECT_EQ(options.validate().code(), "usage");
  options.lengthPenalty = 10;
  EXPECT_TRUE(options.validate().ok());
}

TEST(BeamSearch, CodeWithoutScalarFunctionsIsUnsupported) {
  TableProgram program({0}, 1);
  ThreadPool threads(1);
  RecomputingDecoder decoder(program, threads);
  EXPECT_EQ(beamSearch(decoder, threads, BeamTask(), {}).status().code(),
            "unsupported");
}

} // namespace
