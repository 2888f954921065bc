//===- AMXEmulator.h - AMX on CPUs without it -------------------*- C++ -*-===//
//
// The instructions on int8 tiles that compiled code uses, done by software as
// Intel's manual describes them: on a CPU without AMX each of them is an
// illegal instruction, whose signal is handled here.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TEST_SUPPORT_AMXEMULATOR_H
#define CHORUS_TEST_SUPPORT_AMXEMULATOR_H

#include <cstddef>
#include <cstdint>
#include <optional>

namespace chorus::test {

struct AMXInstruction {
  enum Kind {
    LoadConfig,
    StoreConfig,
    Release,
    Zero,
    Load,
    Store,
    DotSS, ///< Of signed with signed bytes.
    DotSU,
    DotUS,
    DotUU,
  };
  Kind kind;
  size_t length; ///< Bytes of code.
  unsigned tile; ///< Loaded, stored or added to.
  unsigned a, b; ///< Of a dot product.

  /// Memory: base + (index << scale) + displacement; for Load and Store the
  /// index is the distance of rows instead. Registers by their numbers in code;
  /// base -1: none, -2: the next instruction's address; index -1: none.
  int base, index;
  unsigned scale;
  int32_t displacement;
};

/// The instruction at `code`, nothing if it is none of these. Reads no byte
/// beyond it.
std::optional<AMXInstruction> decodeAMX(const uint8_t *code);

/// Tile registers.
struct AMXState {
  /// What ldtilecfg loads.
  struct Config {
    uint8_t palette, startRow, reserved[14];
    uint16_t rowBytes[16];
    uint8_t rows[16];
  } config;
  uint8_t tiles[8][16][64];
};
static_assert(sizeof(AMXState::Config) == 64);

/// Does `instruction`. `address` is base + displacement, with the index for the
/// configuration; `rowStride` the index of Load and Store. False if the CPU
/// would refuse: no or an invalid configuration, shapes that do not fit.
bool execute(const AMXInstruction &instruction, uint8_t *address,
             int64_t rowStride, AMXState &state);

/// Handles illegal instructions of this process from here on. Others than the
/// above end it as before.
void installAMXEmulator();

/// Instructions that the emulator has done in this process.
uint64_t emulatedAMXInstructions();

} // namespace chorus::test

#endif // CHORUS_TEST_SUPPORT_AMXEMULATOR_H
