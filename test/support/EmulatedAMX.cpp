//===- EmulatedAMX.cpp - A program on a CPU that seems to have AMX --------===//
//
// The linker puts this in the place of CpuFeatures::host (ld's --wrap), so that
// the program itself needs nothing for it.
//
//===----------------------------------------------------------------------===//

#include "support/AMXEmulator.h"

#include "chorus_rt/CpuFeatures.h"

using namespace chorus;

#define HOST "_ZN6chorus2rt11CpuFeatures4hostEv"
rt::CpuFeatures realHost() __asm__("__real_" HOST);
rt::CpuFeatures emulatedHost() __asm__("__wrap_" HOST);

rt::CpuFeatures emulatedHost() {
  std::vector<std::string> names = realHost().names();
  if (realHost().has("amx_int8"))
    return rt::CpuFeatures(names);
  test::installAMXEmulator();
  names.insert(names.end(), {"amx_tile", "amx_int8"});
  return rt::CpuFeatures(names);
}
