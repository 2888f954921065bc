//===- ProgramTest.cpp - Loading code and calling entries -----------------===//

#include "chorus_rt/Program.h"
#include "../src/CodeImage.h"
#include "ArtifactFixture.h"
#include "chorus_rt/PlainEntry.h"
#include "chorus_rt/Safetensors.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <elf.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <random>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace chorus;
using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

std::shared_ptr<const Artifact> mustOpen(const Bytes &bytes) {
  std::string path = temporaryPath("program.chorus");
  writeBytes(path, bytes);
  auto artifact = Artifact::open(path);
  EXPECT_TRUE(artifact.ok()) << artifact.status().line("test");
  return artifact.ok() ? *artifact : nullptr;
}

std::shared_ptr<const Program> mustLoad(const std::string &cpu = "auto") {
  auto program = Program::load(mustOpen(fixtureBytes()), 0, cpu);
  EXPECT_TRUE(program.ok()) << program.status().line("test");
  return program.ok() ? *program : nullptr;
}

/// A pool of no threads.
const chorus_runtime_api serialApi = {sizeof(chorus_runtime_api),
                                      nullptr,
                                      [](void *, chorus_parallel_body body,
                                         const void *context, int64_t count,
                                         int64_t) {
                                        body(context, 0, count / 2);
                                        body(context, count / 2, count);
                                      },
                                      /*prefetch_bytes=*/0,
                                      /*entered=*/nullptr,
                                      /*threads=*/1};

/// The class, code and a part of the line of an error.
void expectStatus(const Status &status, ExitCode exitCode,
                  const std::string &code, const std::string &needle) {
  EXPECT_EQ(status.exitCode(), exitCode) << status.line("test");
  EXPECT_EQ(status.code(), code) << status.line("test");
  EXPECT_NE(status.line("test").find(needle), std::string::npos)
      << status.line("test") << "\nexpected in it: " << needle;
}

TEST(Program, LoadsAndFindsEntries) {
  auto program = mustLoad();
  ASSERT_TRUE(program);
  EXPECT_EQ(program->entries().size(), 3u);
  EXPECT_EQ(program->findEntry("double")->info->function, "chorus_double");
  EXPECT_EQ(program->findEntry("absent"), nullptr);
  EXPECT_EQ(program->stepEntry(), program->findEntry("step"));
  float weight;
  std::memcpy(&weight, program->weights(), sizeof weight);
  EXPECT_EQ(weight, 0.25f);

  const float logits[3] = {1, 3, 2};
  uint64_t masses[3] = {};
  program->samplingMasses()(logits, 3, 3, 1, masses);
  EXPECT_EQ(masses[0], 0u);
  EXPECT_EQ(masses[1], uint64_t(1) << 40);
}

TEST(Program, ManyProgramsAtOnceAreDistinct) {
  // The system's loader must not take one for another.
  std::vector<std::shared_ptr<const Program>> programs;
  programs.reserve(5);
  for (int i = 0; i < 5; ++i)
    programs.push_back(mustLoad());
  for (size_t i = 0; i < programs.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      EXPECT_NE(programs[i]->stepEntry()->function,
                programs[j]->stepEntry()->function);
  programs.erase(programs.begin());
  auto another = mustLoad();
  for (const auto &program : programs)
    EXPECT_NE(another->stepEntry()->function, program->stepEntry()->function);
}

TEST(Program, GoldenFilesKeepRunning) {
  auto artifact = Artifact::open(CHORUS_SOURCE_DIR
                                 "/test/data/artifacts/format-1.0.chorus");
  ASSERT_TRUE(artifact.ok()) << artifact.status().line("test");
  EXPECT_TRUE(verifyCode(**artifact).ok());
  auto program = Program::load(*artifact);
  ASSERT_TRUE(program.ok()) << program.status().line("test");
  const float x[3] = {1, 2, 3};
  auto outputs =
      callPlainEntry(**program, *(*program)->findEntry("double"),
                     {{"x", DType::F32, {3}, x}}, &serialApi, "test");
  ASSERT_TRUE(outputs.ok()) << outputs.status().line("test");
  float y[3];
  std::memcpy(y, (*outputs)[0].data.get(), sizeof y);
  EXPECT_EQ(y[0], 2.25f);
  EXPECT_EQ(y[2], 6.25f);
}

TEST(Program, ArenaBytes) {
  auto program = mustLoad();
  // 100 -> 128, 12 * 5 -> 64, 3 * 5 * 7 = 105 -> 128.
  const int64_t symbols[2] = {5, 7};
  const EntryInfo &step = *program->stepEntry()->info;
  EXPECT_EQ(*arenaBytes(step, symbols), 320u);
  const int64_t none[2] = {0, 0};
  EXPECT_EQ(*arenaBytes(step, none), 128u);
  const int64_t negative[2] = {-1, 0};
  expectStatus(arenaBytes(step, negative).status(), ExitCode::Usage, "usage",
               "'T' is -1");
  const int64_t huge[2] = {INT64_MAX, INT64_MAX};
  expectStatus(arenaBytes(step, huge).status(), ExitCode::Limit, "limit",
               "2^48");
  const int64_t large[2] = {int64_t(1) << 30, int64_t(1) << 30};
  expectStatus(arenaBytes(step, large).status(), ExitCode::Limit, "limit",
               "2^48");
}

//===----------------------------------------------------------------------===//
// A06: code
//===----------------------------------------------------------------------===//

void expectBadCode(const Bytes &code, const std::string &needle) {
  auto functions = verifyCodeImage(code, "code");
  ASSERT_FALSE(functions.ok()) << "accepted, expected " << needle;
  expectStatus(functions.status(), ExitCode::Refused, "A06", needle);
}

TEST(Program, A06_VariantsOfTheLinker) {
  const std::pair<const char *, const char *> variants[] = {
      {"undefined-symbol", ""},
      {"needs-library", "depends on another library"},
      {"constructor", "tag 0x19"},
      {"thread-local", "type 0x7"},
      {"text-relocation", "relocations of code"},
      {"writable-code", ""},
      {"executable-stack", "executable stack"},
  };
  EXPECT_TRUE(verifyCodeImage(codeVariant("good"), "code").ok());
  for (const auto &[name, needle] : variants) {
    SCOPED_TRACE(name);
    expectBadCode(codeVariant(name), needle);
    // The same inside an artifact, through both ways to look at code.
    std::string path = temporaryPath("variant.chorus");
    writeFixture(path, codeVariant(name));
    auto artifact = Artifact::open(path);
    ASSERT_TRUE(artifact.ok()) << artifact.status().line("test");
    expectStatus(verifyCode(**artifact), ExitCode::Refused, "A06",
                 "segments[1] (x86-64-v3 code)");
    expectStatus(Program::load(*artifact).status(), ExitCode::Refused, "A06",
                 "code)");
  }
}

TEST(Program, A06_EntryIsNotExported) {
  Bytes bytes = changedFixture(
      [](auto &a) { a.models[0]->entries[1]->function = "chorus_triple"; });
  auto artifact = mustOpen(bytes);
  expectStatus(Program::load(artifact).status(), ExitCode::Refused, "A06",
               "exports no function 'chorus_triple'");
  expectStatus(verifyCode(*artifact), ExitCode::Refused, "A06",
               "'chorus_triple'");
}

/// Program header of that type in the good code, and where it is.
Elf64_Phdr programHeader(const Bytes &code, uint32_t type, uint32_t flags,
                         size_t &at) {
  for (at = sizeof(Elf64_Ehdr);; at += sizeof(Elf64_Phdr)) {
    Elf64_Phdr header;
    std::memcpy(&header, code.data() + at, sizeof header);
    if (header.p_type == type && (header.p_flags & flags) == flags)
      return header;
  }
}

TEST(Program, A06_ProgramHeaders) {
  const Bytes good = codeVariant("good");
  auto refuse = [&](uint32_t type, uint32_t flags,
                    const std::function<void(Elf64_Phdr &)> &change,
                    const char *needle) {
    Bytes code = good;
    size_t at;
    Elf64_Phdr header = programHeader(code, type, flags, at);
    change(header);
    std::memcpy(code.data() + at, &header, sizeof header);
    expectBadCode(code, needle);
  };
  refuse(
      PT_LOAD, PF_X, [](auto &h) { h.p_flags |= PF_W; },
      "writable and executable");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_flags = PF_X; }, "not readable");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_offset += 1 << 20; }, "leave");
  refuse(
      PT_LOAD, PF_X, [](auto &h) { h.p_offset = ~uint64_t(0) - 8; }, "leave");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_filesz += 1 << 20; }, "leave");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_memsz -= 1; }, "memory");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_memsz += 1; }, "memory");
  refuse(
      PT_LOAD, PF_W, [](auto &h) { h.p_memsz = uint64_t(1) << 40; }, "1 GiB");
  refuse(
      PT_LOAD, PF_X, [](auto &h) { h.p_vaddr = ~uint64_t(0) - 64; }, "memory");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_vaddr -= 4096; }, "overlap");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_vaddr += 8; }, "misaligned");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_align = 3; }, "misaligned");
  refuse(PT_LOAD, PF_X, [](auto &h) { h.p_type = PT_INTERP; }, "type 0x3");
  refuse(PT_DYNAMIC, 0, [](auto &h) { h.p_vaddr += 16; }, "not inside");
  refuse(PT_DYNAMIC, 0, [](auto &h) { h.p_type = PT_NOTE; }, "no dynamic");
  refuse(PT_GNU_RELRO, 0, [](auto &h) { h.p_memsz += 1 << 20; }, "protects");
  auto rewrite = [&](size_t at, auto value, const char *needle) {
    Bytes code = good;
    std::memcpy(code.data() + at, &value, sizeof value);
    expectBadCode(code, needle);
  };
  rewrite(EI_CLASS, uint8_t(ELFCLASS32), "elf header");
  rewrite(offsetof(Elf64_Ehdr, e_machine), uint16_t(EM_AARCH64), "elf header");
  rewrite(offsetof(Elf64_Ehdr, e_type), uint16_t(ET_EXEC), "elf header");
  rewrite(offsetof(Elf64_Ehdr, e_phoff), ~uint64_t(0), "program headers");
  rewrite(offsetof(Elf64_Ehdr, e_phnum), uint16_t(0), "program headers");
  rewrite(offsetof(Elf64_Ehdr, e_phnum), uint16_t(0xFFFF), "program headers");
  for (size_t size : {size_t(0), size_t(63), size_t(64), good.size() / 2})
    expectBadCode(Bytes(good.begin(), good.begin() + static_cast<long>(size)),
                  "code: ");
}

TEST(Program, A06_DynamicTables) {
  const Bytes good = codeVariant("good");
  size_t unused;
  const Elf64_Phdr dynamic = programHeader(good, PT_DYNAMIC, 0, unused);
  auto tagAt = [&](int64_t tag) {
    for (size_t at = dynamic.p_offset;; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn entry;
      std::memcpy(&entry, good.data() + at, sizeof entry);
      if (entry.d_tag == tag)
        return at;
    }
  };
  auto setTag = [&](int64_t tag, uint64_t value, const char *needle) {
    SCOPED_TRACE(tag);
    Bytes code = good;
    std::memcpy(code.data() + tagAt(tag) + 8, &value, sizeof value);
    expectBadCode(code, needle);
  };
  for (uint64_t wild : {uint64_t(1) << 30, ~uint64_t(0) - 7}) {
    setTag(DT_SYMTAB, wild, "symbols");
    setTag(DT_STRTAB, wild, "symbol names");
    setTag(DT_STRSZ, wild, "symbol names");
    setTag(DT_GNU_HASH, wild, "hash table");
    setTag(DT_RELA, wild, "relocations");
    setTag(DT_RELASZ, wild, "relocations");
  }
  setTag(DT_SYMENT, 16, "symbols");
  setTag(DT_RELAENT, 16, "relocations");
  setTag(DT_RELACOUNT, 3, "relocations");
  setTag(DT_STRSZ, 5, "symbol names");
  Bytes endless = good;
  int64_t debug = DT_SONAME;
  std::memcpy(endless.data() + tagAt(DT_NULL), &debug, 8);
  expectBadCode(endless, "no end");
  Bytes needed = good;
  int64_t tag = DT_NEEDED;
  std::memcpy(needed.data() + tagAt(DT_RELACOUNT), &tag, 8);
  expectBadCode(needed, "depends on another library");

  auto valueOf = [&](int64_t wanted) {
    uint64_t value;
    std::memcpy(&value, good.data() + tagAt(wanted) + 8, sizeof value);
    return value; // The tables' addresses are file offsets in this object.
  };
  auto rewrite = [&](size_t at, auto value, const char *needle) {
    Bytes code = good;
    std::memcpy(code.data() + at, &value, sizeof value);
    expectBadCode(code, needle);
  };
  size_t symbol = valueOf(DT_SYMTAB) + sizeof(Elf64_Sym);
  rewrite(symbol + offsetof(Elf64_Sym, st_name), uint32_t(1) << 20, "symbol 1");
  rewrite(symbol + offsetof(Elf64_Sym, st_value), uint64_t(0), "symbol 1");
  rewrite(symbol + offsetof(Elf64_Sym, st_value), ~uint64_t(0), "symbol 1");
  rewrite(symbol + offsetof(Elf64_Sym, st_size), uint64_t(1) << 20, "symbol 1");
  rewrite(symbol + offsetof(Elf64_Sym, st_shndx), uint16_t(SHN_UNDEF),
          "undefined");
  rewrite(symbol + offsetof(Elf64_Sym, st_info),
          uint8_t(ELF64_ST_INFO(STB_GLOBAL, STT_GNU_IFUNC)), "type 10");
  size_t relocation = valueOf(DT_RELA);
  rewrite(relocation + offsetof(Elf64_Rela, r_info),
          uint64_t(ELF64_R_INFO(1, R_X86_64_64)), "relocation 0");
  // Of code, of read-only data, of nothing, of the dynamic section.
  for (uint64_t target : {uint64_t(0x1400), uint64_t(0x40), uint64_t(1) << 29,
                          ~uint64_t(0) - 3, dynamic.p_vaddr + 8})
    rewrite(relocation + offsetof(Elf64_Rela, r_offset), target,
            "relocation 0");
  rewrite(relocation + offsetof(Elf64_Rela, r_addend), int64_t(-1),
          "relocation 0");
  rewrite(relocation + offsetof(Elf64_Rela, r_addend), int64_t(1) << 30,
          "relocation 0");
  size_t hash = valueOf(DT_GNU_HASH);
  rewrite(hash, uint32_t(0), "hash table");
  rewrite(hash, ~uint32_t(0), "hash table");
  rewrite(hash + 4, uint32_t(2), "undefined symbol");
  rewrite(hash + 8, uint32_t(3), "hash table");
  rewrite(hash + 8, ~uint32_t(0), "hash table");
  rewrite(hash + 12, uint32_t(64), "hash table");
}

TEST(Program, A06_MutatedCodeNeverCrashesTheLoader) {
  // What passes the verifier is really loaded, though not called.
  unsigned seed = 7;
  std::mt19937 random(seed);
  const Bytes good = codeVariant("good");
  size_t at;
  Elf64_Phdr text = programHeader(good, PT_LOAD, PF_X, at);
  size_t refused = 0, loaded = 0;
  for (int round = 0; round < 3000; ++round) {
    Bytes code = good;
    for (unsigned n = 1 + random() % 2; n-- > 0;) {
      // Headers and tables before the code, dynamic section after it.
      size_t where = random() % (code.size() - text.p_filesz);
      if (where >= text.p_offset)
        where += text.p_filesz;
      if (random() % 2)
        code[where] = static_cast<uint8_t>(random());
      else
        code[where] ^= static_cast<uint8_t>(1u << random() % 8);
    }
    auto image = CodeImage::load(code, "code");
    if (image.ok()) {
      ++loaded;
      continue;
    }
    ++refused;
    ASSERT_EQ(image.status().code(), "A06") << image.status().line("test");
  }
  std::printf("%zu refused, %zu loaded\n", refused, loaded);
  EXPECT_GE(refused, 300u);
  EXPECT_GE(loaded, 100u);
}

TEST(Program, A02_CodeThatChangedAfterOpeningIsNotLoaded) {
  std::string path = temporaryPath("changed.chorus");
  writeBytes(path, fixtureBytes());
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok());
  Bytes changed = fixtureBytes();
  changed[8192 + 0x400] ^= 1;
  FILE *file = std::fopen(path.c_str(), "r+b");
  ASSERT_TRUE(file);
  std::fwrite(changed.data(), 1, changed.size(), file);
  std::fclose(file);
  expectStatus(Program::load(*artifact, 0, "x86-64-v3").status(),
               ExitCode::Refused, "A02", "changed since the file was opened");
}

//===----------------------------------------------------------------------===//
// A09, A16: what this machine allows
//===----------------------------------------------------------------------===//

TEST(Program, A09_ChoiceOfCode) {
  auto artifact = mustOpen(fixtureBytes());
  const ModelInfo &model = artifact->models()[0];
  const CpuFeatures old({"popcnt"}), middle({"sse4_2", "popcnt"}),
      recent({"popcnt", "avx512f", "sse4_2"});
  EXPECT_EQ(*selectCode(model, "auto", recent, "m"), 1u);
  EXPECT_EQ(*selectCode(model, "x86-64-v3", recent, "m"), 0u);
  // Falls back because the file has that code.
  EXPECT_EQ(*selectCode(model, "auto", middle, "m"), 0u);
  expectStatus(selectCode(model, "auto", old, "m").status(), ExitCode::IO,
               "A09", "lacks sse4_2");
  // What was asked for is not replaced.
  expectStatus(selectCode(model, "x86-64-v4", middle, "m").status(),
               ExitCode::IO, "A09", "lacks avx512f");
  expectStatus(selectCode(model, "x86-64-v5", recent, "m").status(),
               ExitCode::Usage, "usage", "only for x86-64-v3, x86-64-v4");
  // The best of what there is, in whatever order the file has it.
  ModelInfo three = model;
  three.codes.insert(
      three.codes.begin(),
      {"x86-64-v4-amx", {"avx512f", "amx_tile", "amx_int8"}, 2, {}});
  const CpuFeatures tiles(
      {"popcnt", "avx512f", "sse4_2", "amx_tile", "amx_int8"});
  EXPECT_EQ(*selectCode(three, "auto", tiles, "m"), 0u);
  EXPECT_EQ(*selectCode(three, "x86-64-v4", tiles, "m"), 2u);
  EXPECT_EQ(*selectCode(three, "auto", recent, "m"), 2u);
  expectStatus(selectCode(three, "x86-64-v4-amx", recent, "m").status(),
               ExitCode::IO, "A09", "lacks amx_tile");
  expectStatus(selectCode(model, "x86-64-v4-amx", tiles, "m").status(),
               ExitCode::Usage, "usage", "only for x86-64-v3, x86-64-v4");
  expectStatus(Program::load(artifact, 0, "auto", old).status(), ExitCode::IO,
               "A09", "lacks sse4_2");
  expectStatus(Program::load(artifact, 1).status(), ExitCode::Usage, "usage",
               "none with index 1");
}

TEST(Program, HostFeaturesAreThoseOfTheKernel) {
  // /proc/cpuinfo lists what the kernel lets processes use.
  std::string text;
  if (FILE *file = std::fopen("/proc/cpuinfo", "r")) {
    char buffer[16384];
    while (std::fgets(buffer, sizeof buffer, file))
      if (std::strncmp(buffer, "flags", 5) == 0) {
        text = buffer;
        break;
      }
    std::fclose(file);
  }
  ASSERT_FALSE(text.empty());
  text.back() = ' ';
  CpuFeatures host = CpuFeatures::host();
  EXPECT_GE(host.names().size(), 3u);
  for (const std::string &name : host.names())
    EXPECT_NE(text.find(" " + name + " "), std::string::npos) << name;
  for (const char *name : {"avx2", "fma", "f16c", "bmi2", "movbe", "abm",
                           "avx512f", "avx512bw", "avx512vl", "avx512dq",
                           "avx512cd", "avx512_vnni", "amx_tile", "amx_int8"})
    EXPECT_EQ(host.has(name),
              text.find(" " + std::string(name) + " ") != std::string::npos)
        << name;
}

/// Makes a system call fail with `error`; with `execOnly` only where its third
/// argument has PROT_EXEC.
void forbid(unsigned number, unsigned error, bool execOnly) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, execOnly ? PROT_EXEC : ~0u, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  if (!execOnly) // Every call.
    filter[3] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
  sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    _exit(90);
}

/// Loads the fixture in a child process after `restrict`, which must end in A16
/// with `needle` in the line.
void expectPolicyError(const std::function<void()> &restrict,
                       const std::string &needle) {
  auto artifact = mustOpen(fixtureBytes());
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    restrict();
    auto program = Program::load(artifact);
    if (program.ok())
      _exit(91);
    const Status &status = program.status();
    bool right = status.exitCode() == ExitCode::IO && status.code() == "A16" &&
                 status.line("test").find(needle) != std::string::npos;
    if (!right)
      std::fprintf(stderr, "%s\n", status.line("test").c_str());
    _exit(right ? 0 : 92);
  }
  int result = 0;
  ASSERT_EQ(waitpid(child, &result, 0), child);
  EXPECT_TRUE(WIFEXITED(result)) << result;
  EXPECT_EQ(WEXITSTATUS(result), 0) << needle;
}

TEST(Program, A16_PolicyForbidsExecutableMappings) {
  expectPolicyError([] { forbid(SYS_memfd_create, EPERM, false); }, "seccomp");
  expectPolicyError([] { forbid(SYS_memfd_create, EACCES, false); },
                    "vm.memfd_noexec");
  expectPolicyError([] { forbid(SYS_mmap, EPERM, true); }, "W^X");
}

//===----------------------------------------------------------------------===//
// Plain entries
//===----------------------------------------------------------------------===//

void writeInputs(const std::string &path,
                 std::vector<SafetensorsOutput> tensors) {
  Status status = writeSafetensors(path, std::move(tensors));
  ASSERT_TRUE(status.ok()) << status.line("test");
}

TEST(PlainEntry, RunsOnFiles) {
  auto program = mustLoad();
  const float a[6] = {1, 2, 3, 4, 5, 6};
  const uint8_t which[3] = {0, 1, 0};
  std::string in = temporaryPath("in.safetensors");
  std::string out = temporaryPath("out.safetensors");
  writeInputs(in, {{"which", SafetensorsDtype::BOOL, {3}, which, 3},
                   {"a", SafetensorsDtype::F32, {3, 2}, a, sizeof a}});
  Status status = runPlainEntry(*program, "select", in, out, &serialApi);
  ASSERT_TRUE(status.ok()) << status.line("test");
  auto file = SafetensorsFile::open(out);
  ASSERT_TRUE(file.ok()) << file.status().line("test");
  ASSERT_EQ(file->tensors().size(), 1u);
  const SafetensorsTensor *result = file->find("out");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->dtype, SafetensorsDtype::F32);
  EXPECT_EQ(result->shape, (std::vector<int64_t>{3, 2}));
  std::vector<float> values(6);
  std::memcpy(values.data(), result->data, 6 * sizeof(float));
  EXPECT_EQ(values, (std::vector<float>{2, 3, -3, -4, 6, 7}));
}

TEST(PlainEntry, InputsAtAnyAlignmentAndEmpty) {
  auto program = mustLoad();
  const Program::Entry &entry = *program->findEntry("double");
  uint8_t buffer[13];
  const float x[3] = {1, 2, 3};
  std::memcpy(buffer + 1, x, sizeof x);
  auto outputs = callPlainEntry(
      *program, entry, {{"x", DType::F32, {3}, buffer + 1}}, &serialApi, "");
  ASSERT_TRUE(outputs.ok()) << outputs.status().line("test");
  float y[3];
  std::memcpy(y, (*outputs)[0].data.get(), sizeof y);
  EXPECT_EQ(y[1], 4.25f);
  auto empty = callPlainEntry(
      *program, entry, {{"x", DType::F32, {0}, nullptr}}, &serialApi, "");
  ASSERT_TRUE(empty.ok()) << empty.status().line("test");
  EXPECT_EQ((*empty)[0].sizeBytes, 0u);
}

TEST(PlainEntry, InputsThatDoNotFit) {
  auto program = mustLoad();
  const Program::Entry &entry = *program->findEntry("select");
  const float a[6] = {};
  const uint8_t which[3] = {0, 1, 2};
  auto refuse = [&](const std::vector<PlainInput> &inputs,
                    const std::string &needle) {
    auto outputs =
        callPlainEntry(*program, entry, inputs, &serialApi, "in.safetensors");
    ASSERT_FALSE(outputs.ok()) << needle;
    expectStatus(outputs.status(), ExitCode::Usage, "usage",
                 "in.safetensors: tensor " + needle);
  };
  const PlainInput goodA = {"a", DType::F32, {2, 2}, a};
  const PlainInput goodWhich = {"which", DType::Bool, {2}, which};
  ASSERT_TRUE(
      callPlainEntry(*program, entry, {goodWhich, goodA}, &serialApi, "").ok());
  refuse({goodA}, "'which' is absent, needed bool [n]");
  refuse({{"a", DType::F64, {2, 2}, a}, goodWhich},
         "'a' has type f64, needed f32");
  refuse({{"a", DType::F32, {4}, a}, goodWhich},
         "'a' has shape [4], needed [n, 2]");
  refuse({{"a", DType::F32, {2, 3}, a}, goodWhich},
         "'a' has shape [2, 3], needed [n, 2]");
  refuse({goodA, {"which", DType::Bool, {3}, which}},
         "'which' has shape [3], needed [n] with n = 2 as in 'a'");
  refuse({{"a", DType::F32, {3, 2}, a}, {"which", DType::Bool, {3}, which}},
         "'which' holds the byte 2 at 2, a bool is 0 or 1");
  refuse({goodA, goodWhich, {"more", DType::F32, {1}, a}},
         "'more' is no input of entry 'select', which has a, which");
}

/// The fixture with "select" whose bytes `which` are indices below a bound.
std::shared_ptr<const Program> loadBounded(const std::string &name,
                                           artifact::DType dtype,
                                           const artifact::Dim &below,
                                           int64_t atMost) {
  std::string path = temporaryPath(name);
  writeBytes(path, changedFixture([&](artifact::ArtifactT &a) {
               artifact::EntryT &select = *a.models[0]->entries[2];
               select.inputs[1]->dtype = dtype;
               auto index = std::make_unique<artifact::IndexBoundT>();
               index->input = 1;
               index->below = std::make_unique<artifact::Dim>(below);
               select.index_bounds.push_back(std::move(index));
               auto size = std::make_unique<artifact::SizeBoundT>();
               size->size = std::make_unique<artifact::Dim>(-1, 0);
               size->at_most = std::make_unique<artifact::Dim>(atMost, 0);
               select.size_bounds.push_back(std::move(size));
             }));
  auto artifact = Artifact::open(path);
  EXPECT_TRUE(artifact.ok()) << artifact.status().line("test");
  auto program = Program::load(*artifact, 0, "auto");
  EXPECT_TRUE(program.ok()) << program.status().line("test");
  return *program;
}

TEST(PlainEntry, N14_IndicesOutsideTheirBounds) {
  const float a[10] = {};
  auto call = [&](const Program &program, DType dtype, int64_t rows,
                  const void *which) {
    auto outputs = callPlainEntry(
        program, *program.findEntry("select"),
        {{"a", DType::F32, {rows, 2}, a}, {"which", dtype, {rows}, which}},
        &serialApi, "in.safetensors");
    return outputs.ok() ? Status() : outputs.status();
  };
  auto refuse = [&](const Program &program, DType dtype, int64_t rows,
                    const void *which, const std::string &needle) {
    expectStatus(call(program, dtype, rows, which), ExitCode::Refused, "N14",
                 "in.safetensors: tensor " + needle);
  };

  auto fixed = loadBounded("i32.chorus", artifact::DType::I32, {2, 0}, 5);
  const int32_t good[4] = {0, 1, 1, 0}, two[2] = {0, 2}, negative[2] = {-1, 0},
                largest[2] = {1, INT32_MAX};
  EXPECT_TRUE(call(*fixed, DType::I32, 4, good).ok());
  refuse(*fixed, DType::I32, 2, two,
         "'which': holds 2 at [1], allowed is 0 to 1");
  refuse(*fixed, DType::I32, 2, negative,
         "'which': holds -1 at [0], allowed is 0 to 1");
  refuse(*fixed, DType::I32, 2, largest,
         "'which': holds 2147483647 at [1], allowed is 0 to 1");
  const int32_t zeros[6] = {};
  EXPECT_TRUE(call(*fixed, DType::I32, 5, zeros).ok());
  refuse(*fixed, DType::I32, 6, zeros,
         "'a': has a size of 6 in dimension 0, allowed is at most 5");

  // A bound that is a size of the call, and the other integers.
  auto wide = loadBounded("i64.chorus", artifact::DType::I64, {-1, 0}, 5);
  const int64_t last[3] = {1, 2, 0}, beyond[3] = {0, 0, int64_t(1) << 32};
  EXPECT_TRUE(call(*wide, DType::I64, 3, last).ok());
  refuse(*wide, DType::I64, 2, last,
         "'which': holds 2 at [1], allowed is 0 to 1");
  refuse(*wide, DType::I64, 3, beyond,
         "'which': holds 4294967296 at [2], allowed is 0 to 2");
  auto bytes = loadBounded("i8.chorus", artifact::DType::I8, {2, 0}, 5);
  const int8_t small[3] = {0, 1, -128};
  EXPECT_TRUE(call(*bytes, DType::I8, 2, small).ok());
  refuse(*bytes, DType::I8, 3, small,
         "'which': holds -128 at [2], allowed is 0 to 1");
  // No rows, no index.
  EXPECT_TRUE(call(*wide, DType::I64, 0, last).ok());
}

TEST(PlainEntry, FilesThatDoNotFit) {
  auto program = mustLoad();
  const uint16_t x[2] = {};
  std::string in = temporaryPath("bad.safetensors");
  std::string out = temporaryPath("never.safetensors");
  writeInputs(in, {{"x", SafetensorsDtype::U16, {2}, x, sizeof x}});
  expectStatus(runPlainEntry(*program, "double", in, out, &serialApi),
               ExitCode::Usage, "usage", "tensor 'x' has type U16");
  expectStatus(runPlainEntry(*program, "step", in, out, &serialApi),
               ExitCode::Usage, "usage", "'step' is a step entry");
  expectStatus(runPlainEntry(*program, "triple", in, out, &serialApi),
               ExitCode::Usage, "usage", "the model has step, double, select");
  EXPECT_NE(access(out.c_str(), F_OK), 0);
}

} // namespace
