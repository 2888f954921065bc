//===- EntryPrograms.cpp - Entries as decoders call them ------------------===//

#include "chorus_rt/EntryPrograms.h"

#include <cassert>
#include <cstring>
#include <limits>

namespace chorus::rt {

/// Bytes of an entry's arena; more than any memory where the plan overflows,
/// so that reserving it is refused.
static uint64_t arenaBytesOr(const Program::Entry &entry,
                             const std::vector<int64_t> &symbols) {
  StatusOr<uint64_t> bytes =
      chorus::rt::arenaBytes(*entry.info, symbols.data());
  return bytes.ok() ? *bytes : std::numeric_limits<uint64_t>::max();
}

/// Whether there is an output for a linear value head.
static bool writesValues(const Program::Entry &entry) {
  return entry.info->outputs.size() == 3;
}

//===----------------------------------------------------------------------===//
// StepEntryProgram
//===----------------------------------------------------------------------===//

StepEntryProgram::StepEntryProgram(std::shared_ptr<const Program> loaded)
    : program(std::move(loaded)), entry(*program->stepEntry()) {
  assert(program->model().states.size() == 1);
}

int64_t StepEntryProgram::vocabSize() const {
  return program->model().vocabSize;
}

uint64_t StepEntryProgram::pageBytes() const {
  return program->model().states[0].pageBytes;
}

uint64_t StepEntryProgram::arenaBytes(int64_t rows, int64_t outputRows) const {
  return arenaBytesOr(entry, {rows, outputRows});
}

int64_t StepEntryProgram::layers() const {
  return program->model().states[0].layers;
}

/// Whether one of `count` elements, `stride` apart, is NaN or infinite: all
/// bits of its exponent are set.
template <typename Bits>
static bool hasNonFinite(const uint8_t *data, uint64_t count, uint64_t stride,
                         Bits exponent) {
  for (uint64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, data + i * stride * sizeof bits, sizeof bits);
    if ((bits & exponent) == exponent)
      return true;
  }
  return false;
}

std::optional<int64_t>
StepEntryProgram::firstNonFiniteLayer(const uint8_t *page, int64_t slot) const {
  const StateInfo &state = program->model().states[0];
  uint64_t heads = uint64_t(state.layers) * state.kvHeads,
           headBytes = state.pageBytes / heads, dim = state.headDim,
           positions = state.pagePositions, element = dtypeSize(state.dtype),
           at = static_cast<uint64_t>(slot);
  // Keys are [2, dim, 16], values behind them [positions, padded dim].
  uint64_t keyBytes = dim * positions * element,
           valueBytes = (headBytes - keyBytes) / positions;
  auto isBad = [&](const uint8_t *data, uint64_t stride) {
    return state.dtype == DType::F16
               ? hasNonFinite<uint16_t>(data, dim, stride, 0x7C00)
               : hasNonFinite<uint32_t>(data, dim, stride, 0x7F800000);
  };
  uint64_t lanes = positions / 2, key = at / lanes * dim * lanes + at % lanes;
  for (uint64_t head = 0; head < heads; ++head) {
    const uint8_t *keys = page + head * headBytes;
    if (isBad(keys + key * element, lanes) ||
        isBad(keys + keyBytes + at * valueBytes, 1))
      return static_cast<int64_t>(head / state.kvHeads);
  }
  return std::nullopt;
}

bool StepEntryProgram::hasValues() const { return writesValues(entry); }

Status StepEntryProgram::run(const StepTables &tables, uint8_t *pool,
                             uint8_t *arena, const chorus_runtime_api &api,
                             float *logits, float *logSumExp,
                             float *values) const {
  const int64_t symbols[] = {static_cast<int64_t>(tables.tokens.size()),
                             static_cast<int64_t>(tables.outputRows.size())};
  const void *inputs[] = {tables.tokens.data(), tables.positions.data(),
                          tables.outputRows.data()};
  void *outputs[] = {logits, logSumExp, values};
  chorus_paged_state state{sizeof state, pool, tables.rowPages.data(),
                           tables.sharingRows};
  chorus_entry_args args{};
  args.arena = arena;
  args.symbols = symbols;
  args.inputs = inputs;
  args.outputs = outputs;
  args.states = &state;
  return program->call(entry, args, api);
}

//===----------------------------------------------------------------------===//
// PlainEntryProgram
//===----------------------------------------------------------------------===//

PlainEntryProgram::PlainEntryProgram(std::shared_ptr<const Program> loaded,
                                     const Program::Entry &entry)
    : program(std::move(loaded)), entry(entry) {}

/// Whether the tensor is [1, symbol 0] or [1, symbol 0, last].
static bool isSequenceTensor(const TensorInfo &tensor, DType dtype,
                             std::string_view name, int64_t last) {
  size_t rank = last == 0 ? 2 : 3;
  return tensor.name == name && tensor.dtype == dtype &&
         tensor.dims.size() == rank && tensor.dims[0].fixed == 1 &&
         tensor.dims[1].isSymbol() && tensor.dims[1].symbol == 0 &&
         (rank == 2 || tensor.dims[2].fixed == last);
}

StatusOr<std::unique_ptr<PlainEntryProgram>>
PlainEntryProgram::create(std::shared_ptr<const Program> program) {
  const Program::Entry *entry = program->findEntry("main");
  int64_t vocab = program->model().vocabSize;
  if (!entry || entry->info->kind != EntryKind::Plain ||
      entry->info->symbols.size() != 1 || entry->info->inputs.size() != 1 ||
      entry->info->outputs.size() < 2 || entry->info->outputs.size() > 3 ||
      !isSequenceTensor(entry->info->inputs[0], DType::I32, "tokens", 0) ||
      !isSequenceTensor(entry->info->outputs[0], DType::F32, "logits", vocab) ||
      !isSequenceTensor(entry->info->outputs[1], DType::F32, "log_sum_exp",
                        0) ||
      (writesValues(*entry) &&
       !isSequenceTensor(entry->info->outputs[2], DType::F32, "value", 1)))
    return unsupported(
        escapeForMessage(program->artifact().path()) + ": models[0].entries",
        "no entry that maps tokens to logits, so nothing can be generated; "
        "--entry calls an entry with tensors");
  // What the scheduler lets pass must suit the entry.
  auto check = [&](const char *list, const DimInfo &bound, int64_t needed) {
    if (!bound.isSymbol() && bound.fixed >= needed)
      return Status();
    return refused("A07",
                   escapeForMessage(program->artifact().path()) +
                       ": models[0].entries." + list,
                   "a bound of " + std::to_string(bound.fixed) +
                       ", the model needs " + std::to_string(needed));
  };
  for (const IndexBoundInfo &bound : entry->info->indexBounds)
    CHORUS_RETURN_IF_ERROR(check("index_bounds", bound.below, vocab));
  for (const SizeBoundInfo &bound : entry->info->sizeBounds)
    CHORUS_RETURN_IF_ERROR(
        check("size_bounds", bound.atMost, program->model().contextLength));
  return std::unique_ptr<PlainEntryProgram>(
      new PlainEntryProgram(std::move(program), *entry));
}

int64_t PlainEntryProgram::vocabSize() const {
  return program->model().vocabSize;
}

uint64_t PlainEntryProgram::arenaBytes(int64_t length) const {
  return arenaBytesOr(entry, {length});
}

bool PlainEntryProgram::hasValues() const { return writesValues(entry); }

Status PlainEntryProgram::run(const std::vector<int32_t> &tokens,
                              uint8_t *arena, const chorus_runtime_api &api,
                              float *logits, float *logSumExp,
                              float *values) const {
  const int64_t symbols[] = {static_cast<int64_t>(tokens.size())};
  const void *inputs[] = {tokens.data()};
  void *outputs[] = {logits, logSumExp, values};
  chorus_entry_args args{};
  args.arena = arena;
  args.symbols = symbols;
  args.inputs = inputs;
  args.outputs = outputs;
  return program->call(entry, args, api);
}

} // namespace chorus::rt
