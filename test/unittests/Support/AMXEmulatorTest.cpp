//===- AMXEmulatorTest.cpp - Instructions as the manual says --------------===//
//
// Runs on the CPU's own AMX where there is one, else on the emulator: both must
// agree with plain loops.
//
//===----------------------------------------------------------------------===//

#include "support/AMXEmulator.h"

#include "chorus_rt/CpuFeatures.h"

#include <gtest/gtest.h>

#include <cstring>
#include <immintrin.h>
#include <random>
#include <thread>
#include <vector>

using namespace chorus::test;

namespace {

using Code = std::vector<uint8_t>;

AMXInstruction decoded(const Code &code) {
  std::optional<AMXInstruction> found = decodeAMX(code.data());
  EXPECT_TRUE(found.has_value());
  return found.value_or(AMXInstruction{});
}

// Encodings as llvm-mc prints them.

TEST(AMXDecoder, KindsAndRegisters) {
  struct {
    Code code;
    AMXInstruction::Kind kind;
    unsigned tile, a, b;
  } cases[] = {
      {{0xc4, 0xe2, 0x78, 0x49, 0xc0}, AMXInstruction::Release, 0, 0, 0},
      {{0xc4, 0xe2, 0x7b, 0x49, 0xe8}, AMXInstruction::Zero, 5, 0, 0},
      // tdpbssd tmm0, tmm1, tmm2 and so on.
      {{0xc4, 0xe2, 0x6b, 0x5e, 0xc1}, AMXInstruction::DotSS, 0, 1, 2},
      {{0xc4, 0xe2, 0x42, 0x5e, 0xee}, AMXInstruction::DotSU, 5, 6, 7},
      {{0xc4, 0xe2, 0x61, 0x5e, 0xec}, AMXInstruction::DotUS, 5, 4, 3},
      {{0xc4, 0xe2, 0x78, 0x5e, 0xfa}, AMXInstruction::DotUU, 7, 2, 0},
  };
  for (const auto &expected : cases) {
    AMXInstruction got = decoded(expected.code);
    EXPECT_EQ(got.kind, expected.kind);
    EXPECT_EQ(got.length, 5u);
    EXPECT_EQ(got.tile, expected.tile);
    EXPECT_EQ(got.a, expected.a);
    EXPECT_EQ(got.b, expected.b);
  }
}

TEST(AMXDecoder, Memory) {
  constexpr int rax = 0, rdx = 2, rbx = 3, rsp = 4, rbp = 5, rdi = 7;
  struct {
    Code code;
    AMXInstruction::Kind kind;
    unsigned tile;
    int base, index;
    unsigned scale;
    int32_t displacement;
  } cases[] = {
      // ldtilecfg [rdi], [rsp - 64], [rip + 4660], [r12 + 4 * r9 + 8]
      {{0xc4, 0xe2, 0x78, 0x49, 0x07},
       AMXInstruction::LoadConfig,
       0,
       rdi,
       -1,
       0,
       0},
      {{0xc4, 0xe2, 0x78, 0x49, 0x44, 0x24, 0xc0},
       AMXInstruction::LoadConfig,
       0,
       rsp,
       -1,
       0,
       -64},
      {{0xc4, 0xe2, 0x78, 0x49, 0x05, 0x34, 0x12, 0x00, 0x00},
       AMXInstruction::LoadConfig,
       0,
       -2,
       -1,
       0,
       4660},
      {{0xc4, 0x82, 0x78, 0x49, 0x44, 0x8c, 0x08},
       AMXInstruction::LoadConfig,
       0,
       12,
       9,
       2,
       8},
      // sttilecfg [r13 + 64]
      {{0xc4, 0xc2, 0x79, 0x49, 0x45, 0x40},
       AMXInstruction::StoreConfig,
       0,
       13,
       -1,
       0,
       64},
      // tileloadd tmm3, [rax + rbx]; tmm7, [r8 + 2 * r15 + 1024];
      // tmm0, [8 * rcx + 64]; tmm1, [rdx]; tileloaddt1 tmm6, [rbp + r12 + 127]
      {{0xc4, 0xe2, 0x7b, 0x4b, 0x1c, 0x18},
       AMXInstruction::Load,
       3,
       rax,
       rbx,
       0,
       0},
      {{0xc4, 0x82, 0x7b, 0x4b, 0xbc, 0x78, 0x00, 0x04, 0x00, 0x00},
       AMXInstruction::Load,
       7,
       8,
       15,
       1,
       1024},
      {{0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0xcd, 0x40, 0x00, 0x00, 0x00},
       AMXInstruction::Load,
       0,
       -1,
       1,
       3,
       64},
      {{0xc4, 0xe2, 0x7b, 0x4b, 0x0c, 0x22},
       AMXInstruction::Load,
       1,
       rdx,
       -1,
       0,
       0},
      {{0xc4, 0xa2, 0x79, 0x4b, 0x74, 0x25, 0x7f},
       AMXInstruction::Load,
       6,
       rbp,
       12,
       0,
       127},
      // tilestored [r13 + rsi - 128], tmm2
      {{0xc4, 0xc2, 0x7a, 0x4b, 0x54, 0x35, 0x80},
       AMXInstruction::Store,
       2,
       13,
       6,
       0,
       -128},
  };
  for (const auto &expected : cases) {
    AMXInstruction got = decoded(expected.code);
    EXPECT_EQ(got.kind, expected.kind);
    EXPECT_EQ(got.length, expected.code.size());
    EXPECT_EQ(got.tile, expected.tile);
    EXPECT_EQ(got.base, expected.base);
    EXPECT_EQ(got.index, expected.index);
    EXPECT_EQ(got.scale, expected.scale);
    EXPECT_EQ(got.displacement, expected.displacement);
  }
}

TEST(AMXDecoder, OtherInstructionsAreNotOurs) {
  for (const Code &code : {
           Code{0x0f, 0x0b, 0, 0, 0},                // ud2
           Code{0xc4, 0xe2, 0x6d, 0x36, 0xd9},       // vpermd
           Code{0xc4, 0xe2, 0x60, 0xf2, 0xc8},       // andn
           Code{0xc4, 0xe2, 0x7a, 0x5c, 0xfa},       // tdpbf16ps
           Code{0xc4, 0xe2, 0xfb, 0x49, 0xe8},       // tilezero with W1
           Code{0xc4, 0xe2, 0x7f, 0x49, 0xe8},       // with 256 bits
           Code{0xc4, 0xe2, 0x73, 0x49, 0xe8},       // with a third register
           Code{0xc4, 0xe2, 0x7b, 0x4b, 0x18, 0x18}, // tileloadd without SIB
       })
    EXPECT_FALSE(decodeAMX(code.data()));
}

struct Tile {
  unsigned rows, bytes;
  std::vector<uint8_t> values = std::vector<uint8_t>(16 * 64);
  uint8_t *row(unsigned index) { return values.data() + 64 * index; }
};

/// Sums of the four kinds of product, of signed and unsigned bytes.
#define AMX __attribute__((target("amx-tile,amx-int8")))
AMX void products(const AMXState::Config &config, const Tile &a, const Tile &b,
                  Tile (&sums)[4]) {
  _tile_loadconfig(&config);
  _tile_loadd(4, a.values.data(), 64);
  _tile_stream_loadd(5, b.values.data(), 64);
  _tile_loadd(0, sums[0].values.data(), 64);
  _tile_loadd(1, sums[1].values.data(), 64);
  _tile_loadd(2, sums[2].values.data(), 64);
  _tile_zero(3);
  _tile_dpbssd(0, 4, 5);
  _tile_dpbsud(1, 4, 5);
  _tile_dpbusd(2, 4, 5);
  _tile_dpbuud(3, 4, 5);
  _tile_stored(0, sums[0].values.data(), 64);
  _tile_stored(1, sums[1].values.data(), 64);
  _tile_stored(2, sums[2].values.data(), 64);
  _tile_stored(3, sums[3].values.data(), 64);
  _tile_release();
}

AMX void zeroWithoutConfig() { _tile_zero(0); }

AMX void storedConfig(const AMXState::Config &config, AMXState::Config &to) {
  _tile_loadconfig(&config);
  __asm__ volatile("sttilecfg %0" : "=m"(to));
  _tile_release();
}

AMXState::Config configOf(unsigned rows, unsigned values, unsigned columns) {
  AMXState::Config config = {};
  config.palette = 1;
  for (int tile = 0; tile < 4; ++tile) {
    config.rows[tile] = static_cast<uint8_t>(rows);
    config.rowBytes[tile] = static_cast<uint16_t>(4 * columns);
  }
  config.rows[4] = static_cast<uint8_t>(rows);
  config.rowBytes[4] = static_cast<uint16_t>(values);
  config.rows[5] = static_cast<uint8_t>(values / 4);
  config.rowBytes[5] = static_cast<uint16_t>(4 * columns);
  return config;
}

class AMXTest : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    if (!chorus::rt::CpuFeatures::host().has("amx_int8"))
      installAMXEmulator();
  }

  /// All kinds for one shape, with random values.
  static void compare(unsigned rows, unsigned values, unsigned columns) {
    std::mt19937 random(rows * 64 + columns);
    Tile a{rows, values}, b{values / 4, 4 * columns};
    Tile sums[4] = {{rows, 4 * columns},
                    {rows, 4 * columns},
                    {rows, 4 * columns},
                    {rows, 4 * columns}};
    for (Tile *tile : {&a, &b, &sums[0], &sums[1], &sums[2], &sums[3]})
      for (uint8_t &value : tile->values)
        value = static_cast<uint8_t>(random());
    Tile before[4] = {sums[0], sums[1], sums[2], sums[3]};
    products(configOf(rows, values, columns), a, b, sums);
    for (unsigned kind = 0; kind < 4; ++kind) {
      bool signedA = kind < 2, signedB = kind % 2 == 0;
      Tile expected = before[kind];
      for (unsigned row = 0; row < rows; ++row)
        for (unsigned column = 0; column < columns; ++column) {
          uint32_t sum = 0;
          if (kind != 3)
            std::memcpy(&sum, before[kind].row(row) + 4 * column, 4);
          for (unsigned k = 0; k < values; ++k) {
            int x = a.row(row)[k], y = b.row(k / 4)[4 * column + k % 4];
            x -= signedA && x > 127 ? 256 : 0;
            y -= signedB && y > 127 ? 256 : 0;
            sum += static_cast<uint32_t>(x * y);
          }
          std::memcpy(expected.row(row) + 4 * column, &sum, 4);
        }
      // Also what lies beyond the tile is as before.
      EXPECT_EQ(sums[kind].values, expected.values)
          << "kind " << kind << ", " << rows << " rows";
    }
  }
};

TEST_F(AMXTest, ProductsOfEveryShape) {
  for (unsigned rows = 1; rows <= 16; ++rows)
    compare(rows, 32, 16);
  for (unsigned columns = 1; columns <= 16; ++columns)
    compare(9, 64, columns);
  for (unsigned values = 4; values <= 64; values += 4)
    compare(16, values, 16);
}

TEST_F(AMXTest, ThreadsHaveTheirOwnTiles) {
  auto run = [](unsigned id) {
    for (unsigned i = 0; i < 50; ++i)
      compare(5 + 4 * id, 32, 16 - id);
  };
  std::thread threads[] = {std::thread(run, 0), std::thread(run, 1),
                           std::thread(run, 2)};
  for (std::thread &each : threads)
    each.join();
}

TEST_F(AMXTest, ConfigurationIsKept) {
  AMXState::Config config = configOf(7, 32, 16), stored = {};
  storedConfig(config, stored);
  EXPECT_EQ(std::memcmp(&config, &stored, sizeof config), 0);
}

using AMXDeathTest = AMXTest;

TEST_F(AMXDeathTest, WhatTheCPURefusesEndsTheProcess) {
  EXPECT_EXIT(zeroWithoutConfig(), ::testing::KilledBySignal(SIGILL), "");
  // The product's shapes do not fit: 8 groups of weights for 16 values.
  AMXState::Config wrong = configOf(8, 32, 16);
  wrong.rowBytes[4] = 16;
  Tile a{8, 16}, b{8, 64}, sums[4] = {{8, 64}, {8, 64}, {8, 64}, {8, 64}};
  EXPECT_EXIT(products(wrong, a, b, sums), ::testing::KilledBySignal(SIGILL),
              "");
  EXPECT_EXIT(__builtin_trap(), ::testing::KilledBySignal(SIGILL), "");
}

} // namespace
