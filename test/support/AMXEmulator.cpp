//===- AMXEmulator.cpp - AMX on CPUs without it ---------------------------===//

#include "AMXEmulator.h"

#include <atomic>
#include <csignal>
#include <cstring>
#include <ucontext.h>

namespace chorus::test {

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

/// ModRM, SIB and displacement of a memory operand; its bytes.
static size_t decodeMemory(const uint8_t *code, unsigned extendBase,
                           unsigned extendIndex, AMXInstruction &to) {
  unsigned mod = code[0] >> 6, rm = code[0] & 7;
  size_t length = 1;
  to.index = -1;
  to.base = static_cast<int>(rm | extendBase);
  if (rm == 4) {
    uint8_t sib = code[length++];
    to.scale = sib >> 6;
    unsigned index = (sib >> 3 & 7) | extendIndex;
    to.index = index == 4 ? -1 : static_cast<int>(index);
    rm = sib & 7;
    to.base = mod == 0 && rm == 5 ? -1 : static_cast<int>(rm | extendBase);
  } else if (mod == 0 && rm == 5) {
    to.base = -2;
  }
  if (mod == 1) {
    uint8_t byte = code[length++];
    to.displacement = byte < 128 ? byte : byte - 256;
  } else if (mod == 2 || to.base < 0) {
    std::memcpy(&to.displacement, code + length, 4);
    length += 4;
  }
  return length;
}

std::optional<AMXInstruction> decodeAMX(const uint8_t *code) {
  // VEX of three bytes in map 0F38, W0, 128 bits.
  if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x84) != 0)
    return std::nullopt;
  bool extendRegister = !(code[1] & 0x80);
  unsigned extendIndex = code[1] & 0x40 ? 0 : 8;
  unsigned extendBase = code[1] & 0x20 ? 0 : 8;
  unsigned third = ~(code[2] >> 3) & 15;
  enum Prefix { None, P66, PF3, PF2 } prefix = Prefix(code[2] & 3);
  uint8_t opcode = code[3], modRM = code[4];
  bool onRegisters = modRM >> 6 == 3;
  unsigned reg = modRM >> 3 & 7, rm = modRM & 7;

  AMXInstruction result{};
  result.length = 5;
  result.tile = reg;
  if (opcode == 0x5E) {
    constexpr AMXInstruction::Kind kinds[] = {
        AMXInstruction::DotUU, AMXInstruction::DotUS, AMXInstruction::DotSU,
        AMXInstruction::DotSS};
    if (!onRegisters || extendRegister || extendBase || third > 7)
      return std::nullopt;
    result.kind = kinds[prefix];
    result.a = rm;
    result.b = third;
    return result;
  }
  if (third != 0 || extendRegister)
    return std::nullopt;
  if (opcode == 0x49 && onRegisters) {
    if (prefix == None && reg == 0 && rm == 0)
      result.kind = AMXInstruction::Release;
    else if (prefix == PF2 && rm == 0)
      result.kind = AMXInstruction::Zero;
    else
      return std::nullopt;
    return result;
  }
  if (opcode == 0x49 && reg == 0 && (prefix == None || prefix == P66))
    result.kind = prefix == None ? AMXInstruction::LoadConfig
                                 : AMXInstruction::StoreConfig;
  else if (opcode == 0x4B && !onRegisters && rm == 4 && prefix != None)
    result.kind = prefix == PF3 ? AMXInstruction::Store : AMXInstruction::Load;
  else
    return std::nullopt;
  result.length = 4 + decodeMemory(code + 4, extendBase, extendIndex, result);
  return result;
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

static bool isValid(const AMXState::Config &config) {
  for (uint8_t byte : config.reserved)
    if (byte)
      return false;
  for (unsigned tile = 0; tile < 16; ++tile)
    if (config.rows[tile] > (tile < 8 ? 16 : 0) ||
        config.rowBytes[tile] > (tile < 8 ? 64 : 0) ||
        !config.rows[tile] != !config.rowBytes[tile])
      return false;
  return config.palette == 1 && config.startRow == 0;
}

template <typename A, typename B>
static bool dot(const AMXInstruction &instruction, AMXState &state) {
  const AMXState::Config &config = state.config;
  unsigned to = instruction.tile, a = instruction.a, b = instruction.b;
  if (to == a || to == b || a == b || config.rows[to] != config.rows[a] ||
      config.rowBytes[to] != config.rowBytes[b] ||
      config.rowBytes[a] != 4 * config.rows[b] || config.rowBytes[b] % 4)
    return false;
  for (unsigned row = 0; row < config.rows[to]; ++row) {
    uint32_t sums[16]; // They wrap around.
    std::memcpy(sums, state.tiles[to][row], sizeof sums);
    for (unsigned group = 0; group < config.rows[b]; ++group)
      for (unsigned column = 0; column < config.rowBytes[b] / 4u; ++column)
        for (unsigned i = 0; i < 4; ++i)
          sums[column] += static_cast<uint32_t>(
              static_cast<A>(state.tiles[a][row][4 * group + i]) *
              static_cast<B>(state.tiles[b][group][4 * column + i]));
    std::memset(state.tiles[to][row], 0, 64);
    std::memcpy(state.tiles[to][row], sums, config.rowBytes[to]);
  }
  for (unsigned row = config.rows[to]; row < 16; ++row)
    std::memset(state.tiles[to][row], 0, 64);
  return true;
}

bool execute(const AMXInstruction &instruction, uint8_t *address,
             int64_t rowStride, AMXState &state) {
  AMXState::Config &config = state.config;
  unsigned tile = instruction.tile;
  switch (instruction.kind) {
  case AMXInstruction::LoadConfig:
    std::memset(state.tiles, 0, sizeof state.tiles);
    std::memcpy(&config, address, sizeof config);
    if (config.palette == 0)
      config = {};
    return config.palette == 0 || isValid(config);
  case AMXInstruction::StoreConfig:
    std::memcpy(address, &config, sizeof config);
    return true;
  case AMXInstruction::Release:
    state = {};
    return true;
  default:
    break;
  }
  if (config.palette == 0 || config.rows[tile] == 0)
    return false;
  uint8_t (&rows)[16][64] = state.tiles[tile];
  switch (instruction.kind) {
  case AMXInstruction::Zero:
    std::memset(rows, 0, sizeof rows);
    return true;
  case AMXInstruction::Load:
    std::memset(rows, 0, sizeof rows);
    for (unsigned row = 0; row < config.rows[tile]; ++row)
      std::memcpy(rows[row], address + row * rowStride, config.rowBytes[tile]);
    return true;
  case AMXInstruction::Store:
    for (unsigned row = 0; row < config.rows[tile]; ++row)
      std::memcpy(address + row * rowStride, rows[row], config.rowBytes[tile]);
    return true;
  case AMXInstruction::DotSS:
    return dot<int8_t, int8_t>(instruction, state);
  case AMXInstruction::DotSU:
    return dot<int8_t, uint8_t>(instruction, state);
  case AMXInstruction::DotUS:
    return dot<uint8_t, int8_t>(instruction, state);
  case AMXInstruction::DotUU:
    return dot<uint8_t, uint8_t>(instruction, state);
  default:
    return false;
  }
}

//===----------------------------------------------------------------------===//
// The signal
//===----------------------------------------------------------------------===//

static thread_local AMXState threadState;
static std::atomic<uint64_t> emulated;

static uint8_t *pointerTo(int64_t address) {
  uint8_t *pointer;
  std::memcpy(static_cast<void *>(&pointer), &address, sizeof pointer);
  return pointer;
}

/// Does the instruction at the context's address, if it is one of ours.
static bool step(gregset_t &registers) {
  // By their numbers in code.
  constexpr int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                           REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                           REG_R12, REG_R13, REG_R14, REG_R15};
  std::optional<AMXInstruction> instruction =
      decodeAMX(pointerTo(registers[REG_RIP]));
  if (!instruction)
    return false;
  int64_t next = registers[REG_RIP] + static_cast<int64_t>(instruction->length);
  int64_t address = instruction->displacement;
  if (instruction->base >= 0)
    address += registers[order[instruction->base]];
  else if (instruction->base == -2)
    address += next;
  int64_t index = 0;
  if (instruction->index >= 0)
    index = registers[order[instruction->index]] * (1 << instruction->scale);
  bool ofRows = instruction->kind == AMXInstruction::Load ||
                instruction->kind == AMXInstruction::Store;
  if (!ofRows)
    address += index;
  if (!execute(*instruction, pointerTo(address), index, threadState))
    return false;
  registers[REG_RIP] = next;
  emulated.fetch_add(1, std::memory_order_relaxed);
  return true;
}

static void handleIllegalInstruction(int, siginfo_t *, void *context) {
  gregset_t &registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
  if (step(registers)) {
    // They come in groups; this saves signals.
    while (step(registers)) {
    }
    return;
  }
  // The instruction runs again and ends the process.
  std::signal(SIGILL, SIG_DFL);
}

void installAMXEmulator() {
  struct sigaction action = {};
  action.sa_sigaction = handleIllegalInstruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
}

uint64_t emulatedAMXInstructions() { return emulated; }

} // namespace chorus::test
