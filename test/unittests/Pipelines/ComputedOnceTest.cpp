//===- ComputedOnceTest.cpp - What a compiled step is asked to compute ----===//
//
// Counts at the border between runtime and compiled code, and in what the code
// wrote: rows that reach the step entry, keys of the first layer, pages.
//
//===----------------------------------------------------------------------===//

#include "../Import/ScratchFolder.h"
#include "../Import/TinyLlama.h"
#include "CompileFile.h"
#include "chorus_rt/EntryPrograms.h"
#include "chorus_rt/Philox.h"
#include "chorus_rt/Scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

using namespace chorus;
using namespace chorus::gguf::test;

namespace {

/// `count` random blocks of 32 weights around 0.
std::string randomBlocks(gguf::TensorType type, uint64_t count) {
  std::string bytes;
  uint32_t at = 0;
  for (uint64_t block = 0; block < count; ++block) {
    bool q8 = type == gguf::TensorType::Q8_0;
    bytes += bytesOf<uint16_t>(q8 ? 0x1800 : 0x2800); // 2^-9, 2^-5
    if (!q8)
      bytes += bytesOf<uint16_t>(0xB380); // -7.5 * 2^-5
    for (int i = 0; i < (q8 ? 32 : 16); ++i)
      bytes += static_cast<char>(rt::uniform24(5, 0, at++));
  }
  return bytes;
}

/// A model whose keys are not zero, compiled.
std::shared_ptr<const rt::Program>
compiledModel(const chorus::test::ScratchFolder &folder) {
  TinyLlama source;
  for (auto &[name, tensor] : source.tensors) {
    uint64_t count = tensor.dims[0];
    if (tensor.type == gguf::TensorType::F32)
      for (uint64_t i = 0; i < count; ++i)
        tensor.data += bytesOf(1.0f);
    else
      tensor.data = randomBlocks(tensor.type, count / 32 * tensor.dims[1]);
  }
  source.builder().write(folder.path("tiny.gguf"));
  auto artifact = chorus::test::compileFile(folder.path("tiny.gguf"),
                                            folder.path("tiny.chorus"));
  EXPECT_TRUE(artifact.ok()) << artifact.status().line("");
  auto program = rt::Program::load(*artifact);
  EXPECT_TRUE(program.ok()) << program.status().line("");
  return *program;
}

/// Counts what goes into the step entry and which keys come out of it.
class CountingProgram : public rt::StepProgram {
public:
  explicit CountingProgram(std::shared_ptr<const rt::Program> program)
      : state(program->model().states[0]), entry(std::move(program)) {}

  int64_t vocabSize() const override { return entry.vocabSize(); }
  uint64_t pageBytes() const override { return entry.pageBytes(); }
  uint64_t arenaBytes(int64_t rows, int64_t outputs) const override {
    return entry.arenaBytes(rows, outputs);
  }
  int64_t layers() const override { return entry.layers(); }
  std::optional<int64_t> firstNonFiniteLayer(const uint8_t *page,
                                             int64_t slot) const override {
    return entry.firstNonFiniteLayer(page, slot);
  }
  rt::Status run(const rt::StepTables &tables, uint8_t *pool, uint8_t *arena,
                 const chorus_runtime_api &api, float *logits, float *logSumExp,
                 float *values) const override {
    auto keysThere = [&](size_t row) {
      return keyIsThere(pool, tables.rowPages[row], tables.positions[row]);
    };
    for (size_t row = 0; row < tables.tokens.size(); ++row) {
      computedTwice += keysThere(row);
      for (int32_t page = 0; page <= tables.positions[row] / 32; ++page)
        pages.insert(tables.rowPages[row][page]);
    }
    rt::Status status =
        entry.run(tables, pool, arena, api, logits, logSumExp, values);
    for (size_t row = 0; row < tables.tokens.size(); ++row)
      keysWritten += keysThere(row);
    rows += static_cast<int64_t>(tables.tokens.size());
    outputRows += static_cast<int64_t>(tables.outputRows.size());
    return status;
  }

  mutable int64_t rows = 0, outputRows = 0;
  mutable int64_t keysWritten = 0, computedTwice = 0;
  mutable std::set<int32_t> pages; ///< That compiled code has seen.

private:
  /// Whether the first layer's key of a position is not zero. Its first head
  /// is at the page's start: [2][head_dim][16] f16.
  bool keyIsThere(const uint8_t *pool, const int32_t *table,
                  int32_t position) const {
    const uint8_t *page =
        pool + static_cast<uint64_t>(table[position / 32]) * pageBytes();
    int32_t slot = position % 32;
    auto keys = reinterpret_cast<const uint16_t *>(page) +
                slot / 16 * 16 * state.headDim + slot % 16;
    for (uint32_t channel = 0; channel < state.headDim; ++channel)
      if (keys[16 * channel])
        return true;
    return false;
  }

  const rt::StateInfo &state;
  rt::StepEntryProgram entry;
};

/// What one request made the compiled code do.
struct Counts {
  int64_t rows, outputRows, keysWritten, computedTwice;
  size_t pagesSeen;
  uint64_t pagesAllocated;
  std::vector<std::vector<int32_t>> tokens; ///< Of each candidate.
};

Counts runRequest(const std::shared_ptr<const rt::Program> &program, int64_t P,
                  int64_t n, int64_t G, const rt::SchedulerOptions &options) {
  CountingProgram step(program);
  rt::ThreadPool threads(2);
  auto pool = rt::KVPool::create(step.pageBytes(), 64);
  EXPECT_TRUE(pool.ok());
  rt::Sampler sampler(step.vocabSize(), program->samplingMasses());
  rt::PagedDecoder decoder(step, **pool, threads);
  rt::Scheduler scheduler(decoder, sampler, threads, nullptr, options);
  rt::Request request;
  for (int64_t i = 0; i < P; ++i)
    request.prompt.push_back(static_cast<int32_t>(3 + i * i % 11));
  request.candidates = n;
  request.maxTokens = G;
  request.ignoreEos = true;
  auto number = scheduler.submit(request);
  EXPECT_TRUE(number.ok()) << number.status().line("");
  while (!scheduler.idle()) {
    rt::Status status = scheduler.step();
    EXPECT_TRUE(status.ok()) << status.line("");
  }
  Counts counts{step.rows,
                step.outputRows,
                step.keysWritten,
                step.computedTwice,
                step.pages.size(),
                (*pool)->pagesAllocated(),
                {}};
  for (rt::Candidate &candidate : scheduler.take(*number).candidates) {
    EXPECT_EQ(candidate.tokenIds.size(), static_cast<size_t>(G));
    counts.tokens.push_back(std::move(candidate.tokenIds));
  }
  return counts;
}

TEST(ComputedOnce, RowsAndPagesOfCandidatesThatShareAPrompt) {
  chorus::test::ScratchFolder folder;
  std::shared_ptr<const rt::Program> program = compiledModel(folder);
  constexpr int64_t G = 40;
  for (int64_t P : {1, 64, 70})
    for (int64_t n : {1, 5})
      for (int64_t chunk : {7, 512})
        for (int64_t maxBatch : {2, 256}) {
          SCOPED_TRACE("P " + std::to_string(P) + ", n " + std::to_string(n) +
                       ", chunk " + std::to_string(chunk) + ", batch " +
                       std::to_string(maxBatch));
          rt::SchedulerOptions options;
          options.maxBatch = maxBatch;
          options.prefillChunk = chunk;
          options.contextLength = 128;
          options.prefixPages = 0;
          options.lateFork = false;
          Counts counts = runRequest(program, P, n, G, options);
          EXPECT_EQ(counts.rows, P + n * (G - 1));
          EXPECT_EQ(counts.keysWritten, counts.rows);
          EXPECT_EQ(counts.computedTwice, 0);
          // Logits of the prompt's last row and of every decode row.
          EXPECT_EQ(counts.outputRows, 1 + n * (G - 1));
          // Whole pages of the prompt once; the last token of a candidate is
          // never computed.
          int64_t shared = P / 32;
          int64_t pages = shared + n * (rt::pagesFor(P + G - 1) - shared);
          EXPECT_EQ(counts.pagesAllocated, static_cast<uint64_t>(pages));
          // Pages of candidates that are done are used again.
          if (maxBatch >= n)
            EXPECT_EQ(counts.pagesSeen, static_cast<size_t>(pages));

          // Candidates with equal tokens so far are one row: as many rows as
          // the tree of their tokens has inner nodes.
          if (maxBatch < n)
            continue;
          options.lateFork = true;
          Counts late = runRequest(program, P, n, G, options);
          EXPECT_EQ(late.tokens, counts.tokens);
          std::set<std::vector<int32_t>> histories;
          for (const std::vector<int32_t> &tokens : late.tokens)
            for (int64_t length = 1; length < G; ++length)
              histories.emplace(tokens.begin(), tokens.begin() + length);
          EXPECT_EQ(late.rows, P + static_cast<int64_t>(histories.size()));
          EXPECT_EQ(late.keysWritten, late.rows);
          EXPECT_EQ(late.computedTwice, 0);
        }
}

} // namespace
