//===- CpuFeatures.cpp - Which code this CPU can run ----------------------===//

#include "chorus_rt/CpuFeatures.h"

#include <algorithm>
#include <cpuid.h>
#include <cstdint>
#include <sys/syscall.h>
#include <unistd.h>

using namespace chorus::rt;

namespace {

enum Register { EAX, EBX, ECX, EDX };

/// What the operating system must save for a feature's registers (XCR0).
enum SavedState : uint64_t {
  Always = 0,
  Ymm = 0x6,
  Zmm = 0xE6,
  Tiles = 0x60000,
};

struct FeatureBit {
  const char *name;
  uint32_t leaf, subleaf;
  Register reg;
  unsigned bit;
  SavedState state;
};

// Intel's and AMD's manuals, CPUID; names as the Linux kernel prints them.
constexpr FeatureBit featureBits[] = {
    {"pni", 1, 0, ECX, 0, Always},
    {"pclmulqdq", 1, 0, ECX, 1, Always},
    {"ssse3", 1, 0, ECX, 9, Always},
    {"fma", 1, 0, ECX, 12, Ymm},
    {"cx16", 1, 0, ECX, 13, Always},
    {"sse4_1", 1, 0, ECX, 19, Always},
    {"sse4_2", 1, 0, ECX, 20, Always},
    {"movbe", 1, 0, ECX, 22, Always},
    {"popcnt", 1, 0, ECX, 23, Always},
    {"aes", 1, 0, ECX, 25, Always},
    {"avx", 1, 0, ECX, 28, Ymm},
    {"f16c", 1, 0, ECX, 29, Ymm},
    {"bmi1", 7, 0, EBX, 3, Always},
    {"avx2", 7, 0, EBX, 5, Ymm},
    {"bmi2", 7, 0, EBX, 8, Always},
    {"avx512f", 7, 0, EBX, 16, Zmm},
    {"avx512dq", 7, 0, EBX, 17, Zmm},
    {"avx512ifma", 7, 0, EBX, 21, Zmm},
    {"avx512cd", 7, 0, EBX, 28, Zmm},
    {"avx512bw", 7, 0, EBX, 30, Zmm},
    {"avx512vl", 7, 0, EBX, 31, Zmm},
    {"avx512vbmi", 7, 0, ECX, 1, Zmm},
    {"avx512_vbmi2", 7, 0, ECX, 6, Zmm},
    {"gfni", 7, 0, ECX, 8, Always},
    {"avx512_vnni", 7, 0, ECX, 11, Zmm},
    {"avx512_bitalg", 7, 0, ECX, 12, Zmm},
    {"avx512_vpopcntdq", 7, 0, ECX, 14, Zmm},
    {"amx_bf16", 7, 0, EDX, 22, Tiles},
    {"avx512_fp16", 7, 0, EDX, 23, Zmm},
    {"amx_tile", 7, 0, EDX, 24, Tiles},
    {"amx_int8", 7, 0, EDX, 25, Tiles},
    {"avx_vnni", 7, 1, EAX, 4, Ymm},
    {"avx512_bf16", 7, 1, EAX, 5, Zmm},
    {"lahf_lm", 0x80000001, 0, ECX, 0, Always},
    {"abm", 0x80000001, 0, ECX, 5, Always},
};

/// Targets from the best down; what is not listed is never chosen by "auto".
constexpr std::string_view targetsByPreference[] = {"x86-64-v4-amx",
                                                    "x86-64-v4", "x86-64-v3"};

uint64_t savedStates() {
  uint32_t eax, ebx, ecx, edx;
  constexpr uint32_t osxsave = 1u << 27;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & osxsave))
    return 0;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

/// Asks Linux for the use of the tile registers. It holds for all threads of
/// the process; without it their first use is a SIGILL.
bool requestTilePermission() {
  constexpr int archReqXcompPerm = 0x1023, xtileData = 18;
  static const bool granted =
      syscall(SYS_arch_prctl, archReqXcompPerm, xtileData) == 0;
  return granted;
}

/// The first feature of `code` that is absent, null if it can run.
const std::string_view *missingFeature(const CodeInfo &code,
                                       const CpuFeatures &features) {
  for (const std::string_view &name : code.features)
    if (!features.has(name))
      return &name;
  return nullptr;
}

std::string targetList(const ModelInfo &model) {
  std::string list;
  for (const CodeInfo &code : model.codes)
    list += (list.empty() ? "" : ", ") + escapeForMessage(code.target);
  return list;
}

} // namespace

int64_t chorus::rt::streamPrefetchBytes() {
  uint32_t eax, ebx, ecx, edx;
  // "GenuineIntel": its second register.
  return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && edx == signature_INTEL_edx
             ? 4096
             : 0;
}

CpuFeatures CpuFeatures::host() {
  std::vector<std::string> names;
  uint64_t saved = savedStates();
  for (const FeatureBit &feature : featureBits) {
    uint32_t registers[4] = {};
    if (__get_cpuid_count(feature.leaf, feature.subleaf, &registers[EAX],
                          &registers[EBX], &registers[ECX], &registers[EDX]) &&
        (registers[feature.reg] >> feature.bit & 1) &&
        (saved & feature.state) == feature.state &&
        (feature.state != Tiles || requestTilePermission()))
      names.push_back(feature.name);
  }
  return CpuFeatures(std::move(names));
}

CpuFeatures::CpuFeatures(std::vector<std::string> names)
    : sorted(std::move(names)) {
  std::sort(sorted.begin(), sorted.end());
}

bool CpuFeatures::has(std::string_view name) const {
  return std::binary_search(sorted.begin(), sorted.end(), name);
}

StatusOr<size_t> chorus::rt::selectCode(const ModelInfo &model,
                                        std::string_view cpu,
                                        const CpuFeatures &features,
                                        const std::string &file) {
  auto find = [&](std::string_view target) {
    size_t i = 0;
    while (i < model.codes.size() && model.codes[i].target != target)
      ++i;
    return i;
  };
  auto lacks = [&](const CodeInfo &code, std::string_view feature) {
    return ioError("A09", file,
                   "this CPU lacks " + escapeForMessage(feature) +
                       ", which the code for " + escapeForMessage(code.target) +
                       " needs; the file has code for " + targetList(model));
  };
  if (cpu != "auto") {
    size_t i = find(cpu);
    if (i == model.codes.size())
      return usageError(file + " has no code for " + escapeForMessage(cpu) +
                        ", only for " + targetList(model));
    if (const std::string_view *feature =
            missingFeature(model.codes[i], features))
      return lacks(model.codes[i], *feature);
    return i;
  }
  Status last = ioError("A09", file,
                        "no code for this kind of CPU; the file has code for " +
                            targetList(model));
  for (std::string_view target : targetsByPreference) {
    size_t i = find(target);
    if (i == model.codes.size())
      continue;
    const std::string_view *feature = missingFeature(model.codes[i], features);
    if (!feature)
      return i;
    last = lacks(model.codes[i], *feature);
  }
  return last;
}
