//===- CPUTarget.cpp - Tile choices for one level of x86-64 ---------------===//

#include "chorus/Conversion/TransformerToKernels/CPUTarget.h"

namespace chorus {

llvm::ArrayRef<CPUTarget> getCPUTargets() {
  static const CPUTarget v3 = {"x86-64-v3",
                               "x86-64-v3",
                               "",
                               "avx avx2 bmi1 bmi2 f16c fma movbe",
                               /*vnni=*/false,
                               /*intRows=*/2,
                               /*intPanels=*/1,
                               /*intStreamRows=*/2,
                               /*intScratchBytes=*/16384,
                               /*linesAhead=*/1,
                               /*amxRows=*/0,
                               /*floatRows=*/4,
                               /*floatPanels=*/1,
                               /*scoreRows=*/5,
                               /*scoreVectors=*/1,
                               /*valueRows=*/6,
                               /*valueVectors=*/1,
                               /*softmaxRows=*/8,
                               /*widenRows=*/32,
                               /*sharingRows=*/2};
  static const CPUTarget v4 = {
      "x86-64-v4",
      "x86-64-v4",
      "+avx512vnni,-prefer-256-bit",
      "avx avx2 bmi1 bmi2 f16c fma movbe avx512f avx512bw avx512cd avx512dq "
      "avx512vl "
      "avx512_vnni",
      /*vnni=*/true,
      /*intRows=*/7,
      /*intPanels=*/2,
      /*intStreamRows=*/8,
      /*intScratchBytes=*/27648,
      /*linesAhead=*/4,
      /*amxRows=*/0,
      /*floatRows=*/8,
      /*floatPanels=*/2,
      /*scoreRows=*/8,
      /*scoreVectors=*/2,
      /*valueRows=*/6,
      /*valueVectors=*/4,
      /*softmaxRows=*/16,
      /*widenRows=*/32,
      /*sharingRows=*/2};
  static const CPUTarget v4AMX = [] {
    CPUTarget target = v4;
    target.name = "x86-64-v4-amx";
    target.llvmFeatures = "+avx512vnni,-prefer-256-bit,+amx-tile,+amx-int8";
    target.cpuFeatures =
        "avx avx2 bmi1 bmi2 f16c fma movbe avx512f avx512bw avx512cd avx512dq "
        "avx512vl avx512_vnni amx_tile amx_int8";
    target.amxRows = 9;
    target.linesAhead = 2; // A block of 16 rows takes a third of the time.
    return target;
  }();
  static const CPUTarget targets[] = {v3, v4, v4AMX};
  return targets;
}

} // namespace chorus
