//===- Program.h - A model's code, loaded -----------------------*- C++ -*-===//
//
// Immutable and shared: the state of a run is in Sequence and in the arguments
// of a call. The ABI of an entry is step_abi.h.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_PROGRAM_H
#define CHORUS_RT_PROGRAM_H

#include "chorus_rt/Artifact.h"
#include "chorus_rt/CpuFeatures.h"
#include "chorus_rt/ScalarFunctions.h"
#include "chorus_rt/Status.h"
#include "chorus_rt/step_abi.h"

#include <memory>
#include <string_view>
#include <vector>

namespace chorus::rt {

class CodeImage;

/// One model of an artifact with the code for this CPU. Any number of threads
/// may use it and call its entries.
class Program {
public:
  /// An entry and its function. The texts of `info` live as long as the
  /// Program.
  struct Entry {
    const EntryInfo *info;
    chorus_entry_fn function;
  };

  /// Picks the code of `artifact->models()[model]` as selectCode does, verifies
  /// and loads it. Errors: usage, A02 (the file changed since it was opened),
  /// A06, A09 and A16; see CpuFeatures.h and BAD-INPUTS' rows of those names.
  static StatusOr<std::shared_ptr<const Program>>
  load(std::shared_ptr<const Artifact> artifact, size_t model = 0,
       std::string_view cpu = "auto");
  /// The same for a CPU of given features, which the host must have or emulate.
  static StatusOr<std::shared_ptr<const Program>>
  load(std::shared_ptr<const Artifact> artifact, size_t model,
       std::string_view cpu, const CpuFeatures &features);

  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;
  ~Program();

  const Artifact &artifact() const { return *file; }
  const std::shared_ptr<const Artifact> &sharedArtifact() const { return file; }
  const ModelInfo &model() const { return *info; }
  /// The code in use.
  const CodeInfo &code() const { return *codeInfo; }
  /// Packed weights, aligned to 4096; model().weightsSegment's bytes.
  const uint8_t *weights() const;

  const std::vector<Entry> &entries() const { return loadedEntries; }
  /// Null if there is none of that name.
  const Entry *findEntry(std::string_view name) const;
  /// Null if the model has no step entry.
  const Entry *stepEntry() const;
  /// Calls `entry`: fills in `args`' size and weights, and the part of `api`
  /// that is the program's. The rest is the caller's, who has checked it.
  /// Error: Artifact::checkPages(); the outputs are of no use then.
  Status call(const Entry &entry, chorus_entry_args args,
              const chorus_runtime_api &api) const;
  /// Whether a call has entered kernel `number` of code().kernels so far.
  bool kernelEntered(size_t number) const;

  /// See step_abi.h.
  chorus_sampling_masses_fn samplingMasses() const { return masses; }
  /// Null in code of older compilers.
  chorus_sampling_sums_fn samplingSums() const { return sums; }
  const ScalarFunctions &scalarFunctions() const { return scalars; }

private:
  Program() = default;

  std::shared_ptr<const Artifact> file;
  const ModelInfo *info = nullptr;
  const CodeInfo *codeInfo = nullptr;
  std::unique_ptr<CodeImage> image;
  std::vector<Entry> loadedEntries;
  chorus_sampling_masses_fn masses = nullptr;
  chorus_sampling_sums_fn sums = nullptr;
  ScalarFunctions scalars;
  /// Written by the code, from any thread; a byte only goes from 0 to 1.
  std::unique_ptr<uint8_t[]> entered;
};

/// Verifies the code of all models and targets, also of those that this CPU
/// cannot run, without loading it (A06).
Status verifyCode(const Artifact &artifact);

/// Bytes of the arena that a call of `entry` needs with these values of its
/// symbols (`entry.symbols.size()` of them): the sum of its terms, each rounded
/// up to 64. Limit error (exit code 4) above 2^48 bytes, usage error for a
/// negative value.
StatusOr<uint64_t> arenaBytes(const EntryInfo &entry, const int64_t *symbols);

} // namespace chorus::rt

#endif // CHORUS_RT_PROGRAM_H
