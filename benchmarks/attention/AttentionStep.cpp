//===- AttentionStep.cpp - Steps over tables made by hand -----------------===//

#include "AttentionStep.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <sys/mman.h>

using namespace chorus;
using namespace chorus::bench;

static uint64_t poolBytes(int64_t pages, uint64_t pageBytes) {
  return static_cast<uint64_t>(pages) * pageBytes;
}

/// Fills the pool with numbers of both signs, f16 of 2^-3 to 1, f32 below 1.
static void fillPool(rt::ThreadPool &threads, uint8_t *memory, uint64_t bytes,
                     rt::DType type) {
  constexpr uint64_t piece = 1 << 20;
  auto pieces = static_cast<int64_t>((bytes + piece - 1) / piece);
  threads.forEachRange(pieces, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint64_t at = static_cast<uint64_t>(i) * piece;
      uint64_t count = std::min(piece, bytes - at) / 4;
      uint64_t state = at + 1;
      for (uint64_t word = 0; word < count; ++word) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        auto random = static_cast<uint32_t>(state >> 32);
        uint32_t value;
        if (type == rt::DType::F16) {
          value = 0x30003000 + (random & 0x8bff8bff);
        } else {
          float number = static_cast<float>(static_cast<int32_t>(random)) *
                         (1.0f / 2147483648.0f);
          std::memcpy(&value, &number, sizeof value);
        }
        std::memcpy(memory + at + 4 * word, &value, sizeof value);
      }
    }
  });
}

AttentionStep::AttentionStep(std::shared_ptr<const rt::Program> loaded,
                             int threads)
    : program(std::move(loaded)), step(program), pool(threads) {
  pool.observeLoops(this);
}

AttentionStep::~AttentionStep() {
  if (memory)
    munmap(memory, poolBytes(pages, pageBytes()));
}

rt::StatusOr<std::unique_ptr<AttentionStep>>
AttentionStep::create(const std::string &artifact, const std::string &cpu,
                      int threads, int64_t pages) {
  rt::StatusOr<std::shared_ptr<const rt::Artifact>> file =
      rt::Artifact::open(artifact);
  CHORUS_RETURN_IF_ERROR(file.status());
  rt::StatusOr<std::shared_ptr<const rt::Program>> program =
      rt::Program::load(*file, 0, cpu);
  CHORUS_RETURN_IF_ERROR(program.status());
  if (!(*program)->stepEntry())
    return rt::usageError(rt::escapeForMessage(artifact) +
                          " has no step entry");
  std::unique_ptr<AttentionStep> out(
      new AttentionStep(std::move(*program), threads));
  uint64_t bytes = poolBytes(pages, out->pageBytes());
  void *mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    return rt::limitError("N10", "page pool", "out of memory");
  // As KVPool's memory; a failure changes nothing but speed.
  madvise(mapped, bytes, MADV_HUGEPAGE);
  out->memory = static_cast<uint8_t *>(mapped);
  out->pages = pages;
  fillPool(out->pool, out->memory, bytes,
           out->program->model().states[0].dtype);
  return out;
}

void AttentionStep::setStep(const std::vector<SequencePart> &sequences) {
  parts = sequences;
  tables = rt::StepTables();
  for (const SequencePart &part : parts)
    for (int32_t position = part.first; position < part.end; ++position) {
      // Any token that depends on the position alone.
      tables.tokens.push_back(position * 7 %
                              static_cast<int32_t>(step.vocabSize()));
      tables.positions.push_back(position);
      tables.rowPages.push_back(part.pages.data());
    }
  tables.outputRows.resize(tables.tokens.size());
  std::iota(tables.outputRows.begin(), tables.outputRows.end(), 0);
}

rt::StatusOr<std::vector<float>> AttentionStep::run(int64_t sharingRows,
                                                    int64_t firstPage) {
  auto rows = static_cast<int64_t>(tables.tokens.size());
  std::vector<float> logits(static_cast<size_t>(rows * step.vocabSize())),
      logSumExp(static_cast<size_t>(rows)), values(static_cast<size_t>(rows));
  CHORUS_RETURN_IF_ERROR(arena.reserve(step.arenaBytes(rows, rows)));
  tables.sharingRows = sharingRows;
  seconds = 0;
  rt::FloatControlScope floatControl;
  CHORUS_RETURN_IF_ERROR(
      step.run(tables, memory + poolBytes(firstPage, pageBytes()), arena.data(),
               *pool.api(), logits.data(), logSumExp.data(), values.data()));
  return logits;
}

void AttentionStep::copyPage(int32_t from, int32_t to) {
  std::memcpy(memory + poolBytes(to, pageBytes()),
              memory + poolBytes(from, pageBytes()), pageBytes());
}

double AttentionStep::pairs() const {
  return std::accumulate(
      tables.positions.begin(), tables.positions.end(), 0.0,
      [](double sum, int32_t position) { return sum + position + 1; });
}

double AttentionStep::attentionOperations() const {
  for (const rt::KernelInfo &kernel : program->code().kernels)
    if (kernel.perPosition)
      return pairs() * static_cast<double>(kernel.f32Operations);
  return 0;
}

bool AttentionStep::hasAVX512() const {
  const std::vector<std::string_view> &features = program->code().features;
  return std::find(features.begin(), features.end(), "avx512f") !=
         features.end();
}

void AttentionStep::loopEnded(int64_t kernel, TimePoint begin, TimePoint end) {
  const rt::KernelInfo &info =
      program->code().kernels[static_cast<size_t>(kernel)];
  if (info.perPosition)
    seconds += std::chrono::duration<double>(end - begin).count();
  constexpr std::string_view join = ".attention_join";
  if (info.name.size() >= join.size() &&
      info.name.substr(info.name.size() - join.size()) == join)
    ++joins;
}
