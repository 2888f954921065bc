//===- CpuFeatures.h - Which code this CPU can run --------------*- C++ -*-===//

#ifndef CHORUS_RT_CPUFEATURES_H
#define CHORUS_RT_CPUFEATURES_H

#include "chorus_rt/Artifact.h"
#include "chorus_rt/Status.h"

#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// A set of CPU features by the names of Linux's /proc/cpuinfo.
class CpuFeatures {
public:
  /// What CPUID reports and the operating system has enabled: without support
  /// for saving the wide registers, the AVX features are absent. Where there
  /// are tile registers, Linux is asked for their use; AMX is absent if it
  /// refuses. To be called before threads start that use them.
  static CpuFeatures host();

  explicit CpuFeatures(std::vector<std::string> names);
  bool has(std::string_view name) const;
  const std::vector<std::string> &names() const { return sorted; }

private:
  std::vector<std::string> sorted;
};

/// How far ahead to prefetch a stream of weights on this CPU, in bytes: Intel's
/// cores gain by it, AMD's lose (0).
int64_t streamPrefetchBytes();

/// Index into `model.codes` of the code to run. `cpu` is "auto" (the best that
/// the features allow) or a target's name (that one or none).
/// Usage error if the model has no such target; A09 (exit 5), naming the
/// feature, if the CPU lacks one. `file`: for messages.
StatusOr<size_t> selectCode(const ModelInfo &model, std::string_view cpu,
                            const CpuFeatures &features,
                            const std::string &file);

} // namespace chorus::rt

#endif // CHORUS_RT_CPUFEATURES_H
