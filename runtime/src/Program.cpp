//===- Program.cpp - A model's code, loaded -------------------------------===//

#include "chorus_rt/Program.h"

#include "CodeImage.h"
#include "chorus_rt/ByteReader.h"
#include "chorus_rt/Sha256.h"

#include <new>

using namespace chorus::rt;

static constexpr std::string_view massesName = "chorus_sampling_masses";

static std::string codePlace(const Artifact &artifact, const CodeInfo &code) {
  return escapeForMessage(artifact.path(), 200) + ": segments[" +
         std::to_string(code.segment) + "] (" + escapeForMessage(code.target) +
         " code)";
}

static Status absentFunction(const std::string &place, std::string_view name) {
  return refused("A06", place,
                 "exports no function '" + escapeForMessage(name) + "'");
}

static std::vector<uint8_t> codeBytes(const Artifact &artifact,
                                      const CodeInfo &code) {
  std::string_view mapped = artifact.segmentBytes(code.segment);
  return {mapped.begin(), mapped.end()};
}

Program::~Program() = default;

StatusOr<std::shared_ptr<const Program>>
Program::load(std::shared_ptr<const Artifact> artifact, size_t model,
              std::string_view cpu) try {
  return load(std::move(artifact), model, cpu, CpuFeatures::host());
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory while loading the program");
}

StatusOr<std::shared_ptr<const Program>>
Program::load(std::shared_ptr<const Artifact> artifact, size_t model,
              std::string_view cpu, const CpuFeatures &features) try {
  std::string file = escapeForMessage(artifact->path(), 200);
  std::shared_ptr<Program> program(new Program);
  program->file = std::move(artifact);
  const Artifact &source = *program->file;
  if (model >= source.models().size())
    return usageError(file + " has " + std::to_string(source.models().size()) +
                      " models, none with index " + std::to_string(model));
  program->info = &source.models()[model];
  StatusOr<size_t> choice = selectCode(*program->info, cpu, features, file);
  if (!choice.ok())
    return choice.status();
  program->codeInfo = &program->info->codes[*choice];

  // The mapping may have been overwritten since it was verified; the copy is
  // what runs.
  uint32_t segment = program->codeInfo->segment;
  std::string place = codePlace(source, *program->codeInfo);
  std::vector<uint8_t> bytes = codeBytes(source, *program->codeInfo);
  StatusOr<Sha256Digest> digest = sha256(bytes.data(), bytes.size());
  if (!digest.ok())
    return digest.status();
  if (*digest != source.metadata().segments[segment].sha256)
    return refused("A02", place,
                   "changed since the file was opened: its SHA-256 is not the "
                   "one in the metadata");
  StatusOr<CodeImage> image = CodeImage::load(bytes, place);
  if (!image.ok())
    return image.status();
  program->image = std::make_unique<CodeImage>(std::move(*image));

  for (const EntryInfo &entry : program->info->entries) {
    void *function = program->image->function(entry.function);
    if (!function)
      return absentFunction(place, entry.function);
    program->loadedEntries.push_back(
        {&entry, reinterpret_cast<chorus_entry_fn>(function)});
  }
  void *masses = program->image->function(massesName);
  if (!masses)
    return absentFunction(place, massesName);
  program->masses = reinterpret_cast<chorus_sampling_masses_fn>(masses);
  program->sums = reinterpret_cast<chorus_sampling_sums_fn>(
      program->image->function("chorus_sampling_sums"));
  auto scalar = [&](std::string_view name) {
    return reinterpret_cast<chorus_map_fn>(program->image->function(name));
  };
  program->scalars = {scalar("chorus_exp"), scalar("chorus_log")};
  program->entered =
      std::make_unique<uint8_t[]>(program->codeInfo->kernels.size());
  return std::shared_ptr<const Program>(std::move(program));
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory while loading the program");
}

Status chorus::rt::verifyCode(const Artifact &artifact) try {
  for (const ModelInfo &model : artifact.models())
    for (const CodeInfo &code : model.codes) {
      std::string place = codePlace(artifact, code);
      StatusOr<FunctionTable> functions =
          verifyCodeImage(codeBytes(artifact, code), place);
      if (!functions.ok())
        return functions.status();
      for (const EntryInfo &entry : model.entries)
        if (functions->find(entry.function) == functions->end())
          return absentFunction(place, entry.function);
      if (functions->find(massesName) == functions->end())
        return absentFunction(place, massesName);
    }
  return Status();
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory while verifying code");
}

const uint8_t *Program::weights() const {
  return file->segmentData(info->weightsSegment);
}

Status Program::call(const Entry &entry, chorus_entry_args args,
                     const chorus_runtime_api &api) const {
  chorus_runtime_api own = api;
  own.entered = entered.get();
  args.size = sizeof args;
  args.weights = weights();
  args.api = &own;
  entry.function(&args);
  return file->checkPages();
}

bool Program::kernelEntered(size_t number) const {
  return __atomic_load_n(&entered[number], __ATOMIC_RELAXED) != 0;
}

const Program::Entry *Program::findEntry(std::string_view name) const {
  for (const Entry &entry : loadedEntries)
    if (entry.info->name == name)
      return &entry;
  return nullptr;
}

const Program::Entry *Program::stepEntry() const {
  for (const Entry &entry : loadedEntries)
    if (entry.info->kind == EntryKind::Step)
      return &entry;
  return nullptr;
}

StatusOr<uint64_t> chorus::rt::arenaBytes(const EntryInfo &entry,
                                          const int64_t *symbols) {
  constexpr uint64_t maxArena = uint64_t(1) << 48;
  for (size_t i = 0; i < entry.symbols.size(); ++i)
    if (symbols[i] < 0)
      return usageError("'" + escapeForMessage(entry.symbols[i]) + "' is " +
                        std::to_string(symbols[i]) +
                        ", a size is not negative");
  uint64_t total = 0;
  for (const ArenaTermInfo &term : entry.arena) {
    uint64_t bytes = term.bytes;
    bool fits = true;
    for (uint32_t symbol : term.symbols)
      fits = fits && checkedMultiply(
                         bytes, static_cast<uint64_t>(symbols[symbol]), bytes);
    fits = fits && checkedAlignUp(bytes, CHORUS_BUFFER_ALIGNMENT, bytes) &&
           checkedAdd(total, bytes, total);
    if (!fits || total > maxArena)
      return limitError(
          "limit", "entry '" + escapeForMessage(entry.name) + "'",
          "its scratch memory exceeds 2^48 bytes for these sizes");
  }
  return total;
}
