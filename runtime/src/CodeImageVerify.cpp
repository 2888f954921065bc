//===- CodeImageVerify.cpp - What a code segment may contain --------------===//

#include "CodeImage.h"

#include "chorus_rt/ByteReader.h"

#include <algorithm>
#include <cstring>
#include <elf.h>
#include <optional>

using namespace chorus::rt;

namespace {

constexpr uint64_t pageSize = 4096;
constexpr uint64_t maxImageSize = uint64_t(1) << 30;

std::string hex(uint64_t value) {
  char buffer[24];
  std::snprintf(buffer, sizeof buffer, "0x%llx",
                static_cast<unsigned long long>(value));
  return buffer;
}

class Verifier {
public:
  Verifier(const std::vector<uint8_t> &bytes, const std::string &place)
      : bytes(bytes), place(place) {}

  Status header();
  Status programHeaders();
  Status dynamicTags();
  Status symbols(FunctionTable &functions);
  Status relocations() const;

private:
  Status error(const std::string &field, const std::string &message) const {
    return refused("A06", place + ": " + field, message);
  }

  /// A structure at a file offset that is known to be inside.
  template <typename T> T at(uint64_t offset) const {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
  }

  /// File offset of `size` bytes at an address of the image, if the file holds
  /// them all in one loaded segment.
  std::optional<uint64_t> fileOffset(uint64_t address, uint64_t size) const;
  /// Whether the image has [address, address + size) in one segment that has
  /// all of `flags` and none of `not`.
  bool mapped(uint64_t address, uint64_t size, uint32_t flags,
              uint32_t without) const;
  bool inside(uint64_t offset, uint64_t size) const {
    uint64_t end;
    return checkedAdd(offset, size, end) && end <= bytes.size();
  }
  Status loadSegment(const Elf64_Phdr &header, const std::string &field);
  /// A table that two tags describe: its file offset.
  Status table(const char *name, int64_t addressTag, uint64_t size,
               uint64_t &offset) const;
  bool has(int64_t tag) const { return tagValue(tag).has_value(); }
  std::optional<uint64_t> tagValue(int64_t tag) const;
  Status countSymbols(uint64_t &count) const;
  Status checkSysvHash(uint64_t count) const;

  const std::vector<uint8_t> &bytes;
  const std::string &place;
  std::vector<Elf64_Phdr> loads; // Ascending addresses.
  Elf64_Phdr dynamic = {};
  std::vector<Elf64_Dyn> tags;
  uint64_t imageEnd = 0;
};

std::optional<uint64_t> Verifier::fileOffset(uint64_t address,
                                             uint64_t size) const {
  uint64_t end;
  if (!checkedAdd(address, size, end))
    return std::nullopt;
  for (const Elf64_Phdr &load : loads)
    if (address >= load.p_vaddr && end <= load.p_vaddr + load.p_filesz)
      return load.p_offset + (address - load.p_vaddr);
  return std::nullopt;
}

bool Verifier::mapped(uint64_t address, uint64_t size, uint32_t flags,
                      uint32_t without) const {
  uint64_t end;
  if (!checkedAdd(address, size, end))
    return false;
  for (const Elf64_Phdr &load : loads)
    if (address >= load.p_vaddr && end <= load.p_vaddr + load.p_memsz)
      return (load.p_flags & flags) == flags && !(load.p_flags & without);
  return false;
}

std::optional<uint64_t> Verifier::tagValue(int64_t tag) const {
  for (const Elf64_Dyn &entry : tags)
    if (entry.d_tag == tag)
      return entry.d_un.d_val;
  return std::nullopt;
}

Status Verifier::header() {
  if (bytes.size() < sizeof(Elf64_Ehdr))
    return error("elf header", std::to_string(bytes.size()) +
                                   " bytes, needed " +
                                   std::to_string(sizeof(Elf64_Ehdr)));
  auto header = at<Elf64_Ehdr>(0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_ident[EI_VERSION] != EV_CURRENT ||
      (header.e_ident[EI_OSABI] != ELFOSABI_SYSV &&
       header.e_ident[EI_OSABI] != ELFOSABI_GNU) ||
      header.e_type != ET_DYN || header.e_machine != EM_X86_64 ||
      header.e_version != EV_CURRENT || header.e_ehsize != sizeof(Elf64_Ehdr))
    return error("elf header", "not a 64-bit x86 shared object");
  for (size_t i = EI_ABIVERSION; i < EI_NIDENT; ++i)
    if (header.e_ident[i] != 0)
      return error("elf header", "a byte of its padding is not zero");
  constexpr uint16_t maxProgramHeaders = 32;
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > maxProgramHeaders ||
      !inside(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr)))
    return error("elf header", std::to_string(header.e_phnum) +
                                   " program headers at " +
                                   hex(header.e_phoff) +
                                   ", needed 1 to 32 inside the segment");
  return Status();
}

Status Verifier::loadSegment(const Elf64_Phdr &header,
                             const std::string &field) {
  uint64_t end;
  if (header.p_memsz < header.p_filesz ||
      !checkedAdd(header.p_vaddr, header.p_memsz, end) || end > maxImageSize)
    return error(field, "its memory wraps, exceeds 1 GiB or is smaller than "
                        "its bytes");
  if (header.p_align < pageSize || header.p_align > 65536 ||
      (header.p_align & (header.p_align - 1)) ||
      (header.p_vaddr - header.p_offset) % header.p_align)
    return error(field, "misaligned");
  if ((header.p_flags & PF_W) && (header.p_flags & PF_X))
    return error(field, "writable and executable");
  if (!(header.p_flags & PF_R))
    return error(field, "not readable");
  // The loader would write zeros there.
  if (!(header.p_flags & PF_W) && header.p_memsz != header.p_filesz)
    return error(field, "not writable, but its memory differs from its bytes");
  // On whole pages, or a later segment could cover pages of an earlier one.
  uint64_t firstPage = header.p_vaddr / pageSize * pageSize;
  if (loads.empty() ? firstPage != 0 : firstPage < imageEnd)
    return error(field, "its pages overlap those of the segment before, or the "
                        "image does not begin at 0");
  loads.push_back(header);
  imageEnd = (end + pageSize - 1) / pageSize * pageSize;
  return Status();
}

Status Verifier::programHeaders() {
  auto header = at<Elf64_Ehdr>(0);
  bool sawDynamic = false;
  std::vector<std::pair<std::string, Elf64_Phdr>> covered;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    auto program =
        at<Elf64_Phdr>(header.e_phoff + uint64_t(i) * sizeof(Elf64_Phdr));
    std::string field = "program header " + std::to_string(i);
    if (!inside(program.p_offset, program.p_filesz))
      return error(field, "bytes " + hex(program.p_offset) + " + " +
                              hex(program.p_filesz) + " leave the segment of " +
                              hex(bytes.size()));
    switch (program.p_type) {
    case PT_LOAD:
      CHORUS_RETURN_IF_ERROR(loadSegment(program, field));
      break;
    case PT_DYNAMIC:
      if (sawDynamic)
        return error(field, "a second dynamic section");
      sawDynamic = true;
      dynamic = program;
      covered.emplace_back(field, program);
      break;
    case PT_GNU_STACK:
      if (program.p_flags & PF_X)
        return error(field, "asks for an executable stack");
      break;
    case PT_PHDR:
    case PT_NOTE:
    case PT_GNU_EH_FRAME:
    case PT_GNU_PROPERTY:
    case PT_GNU_RELRO:
      covered.emplace_back(field, program);
      break;
    default:
      return error(field,
                   "type " + hex(program.p_type) +
                       " is not allowed (load, dynamic, note, relro, stack)");
    }
  }
  if (loads.empty() || !sawDynamic)
    return error("program headers", "no loaded segment or no dynamic section");
  for (const auto &[field, program] : covered) {
    if (program.p_filesz &&
        fileOffset(program.p_vaddr, program.p_filesz) != program.p_offset)
      return error(field, "not inside a loaded segment");
    if (program.p_type == PT_GNU_RELRO) {
      uint64_t end;
      // The loader takes write access from these pages, rounded outwards.
      if (!checkedAdd(program.p_vaddr, program.p_memsz, end) ||
          end > imageEnd ||
          !mapped(program.p_vaddr, program.p_filesz, PF_R | PF_W, PF_X))
        return error(field, "protects pages that are not data");
    } else if (program.p_memsz != program.p_filesz) {
      return error(field, "its memory differs from its bytes");
    }
  }
  // The loader adds the base address to the values in it.
  if (!mapped(dynamic.p_vaddr, dynamic.p_memsz, PF_R | PF_W, PF_X))
    return error("dynamic section", "not in writable data");
  return Status();
}

Status Verifier::dynamicTags() {
  constexpr int64_t allowed[] = {
      DT_HASH,      DT_GNU_HASH, DT_STRTAB, DT_SYMTAB,  DT_STRSZ,
      DT_SYMENT,    DT_RELA,     DT_RELASZ, DT_RELAENT, DT_SONAME,
      DT_RELACOUNT, DT_FLAGS,    DT_FLAGS_1};
  bool ended = false;
  for (uint64_t offset = 0;
       !ended && offset + sizeof(Elf64_Dyn) <= dynamic.p_filesz;
       offset += sizeof(Elf64_Dyn)) {
    auto tag = at<Elf64_Dyn>(dynamic.p_offset + offset);
    if (tag.d_tag == DT_NULL) {
      ended = true;
      continue;
    }
    if (tag.d_tag == DT_NEEDED)
      return error("dynamic section", "depends on another library");
    if (tag.d_tag == DT_TEXTREL)
      return error("dynamic section", "has relocations of code");
    if (std::find(std::begin(allowed), std::end(allowed), tag.d_tag) ==
        std::end(allowed))
      return error("dynamic section",
                   "tag " + hex(static_cast<uint64_t>(tag.d_tag)) +
                       " is not allowed");
    if (has(tag.d_tag))
      return error("dynamic section",
                   "tag " + hex(static_cast<uint64_t>(tag.d_tag)) +
                       " is there twice");
    tags.push_back(tag);
  }
  if (!ended)
    return error("dynamic section", "has no end");
  constexpr uint64_t harmlessFlags = DF_SYMBOLIC | DF_BIND_NOW;
  constexpr uint64_t harmlessFlags1 = DF_1_NOW;
  if ((tagValue(DT_FLAGS).value_or(0) & ~harmlessFlags) ||
      (tagValue(DT_FLAGS_1).value_or(0) & ~harmlessFlags1))
    return error("dynamic section", "flags other than symbolic and now");
  return Status();
}

Status Verifier::table(const char *name, int64_t addressTag, uint64_t size,
                       uint64_t &offset) const {
  std::optional<uint64_t> address = tagValue(addressTag);
  if (!address)
    return error(name, "absent, needed");
  std::optional<uint64_t> found = fileOffset(*address, size);
  if (!found)
    return error(name, hex(size) + " bytes at " + hex(*address) +
                           " are not inside a loaded segment");
  offset = *found;
  return Status();
}

/// The symbol table has no length of its own: the hash table says where it
/// ends.
Status Verifier::countSymbols(uint64_t &count) const {
  struct GnuHashHeader {
    uint32_t numBuckets, firstSymbol, bloomWords, bloomShift;
  };
  uint64_t offset;
  CHORUS_RETURN_IF_ERROR(
      table("hash table", DT_GNU_HASH, sizeof(GnuHashHeader), offset));
  auto header = at<GnuHashHeader>(offset);
  uint64_t bucketsAt = sizeof(GnuHashHeader) + 8 * uint64_t(header.bloomWords);
  uint64_t chainsAt = bucketsAt + 4 * uint64_t(header.numBuckets);
  CHORUS_RETURN_IF_ERROR(table("hash table", DT_GNU_HASH, chainsAt, offset));
  if (header.numBuckets == 0 || header.bloomWords == 0 ||
      (header.bloomWords & (header.bloomWords - 1)) || header.bloomShift > 31)
    return error("hash table", "malformed");
  // Symbols before the hashed ones would be undefined.
  if (header.firstSymbol != 1)
    return error("symbols", "an undefined symbol");
  uint32_t last = 0;
  for (uint32_t i = 0; i < header.numBuckets; ++i)
    last = std::max(last, at<uint32_t>(offset + bucketsAt + 4 * uint64_t(i)));
  if (last == 0)
    return error("symbols", "no function is exported");
  for (uint64_t symbol = last;; ++symbol) {
    uint64_t chainEnd = chainsAt + 4 * symbol; // Symbol 1 has chain 0.
    CHORUS_RETURN_IF_ERROR(table("hash table", DT_GNU_HASH, chainEnd, offset));
    if (at<uint32_t>(offset + chainEnd - 4) & 1) {
      count = symbol + 1;
      return Status();
    }
  }
}

Status Verifier::checkSysvHash(uint64_t count) const {
  if (!has(DT_HASH))
    return Status();
  uint64_t offset;
  CHORUS_RETURN_IF_ERROR(table("hash table", DT_HASH, 8, offset));
  uint64_t numBuckets = at<uint32_t>(offset);
  uint64_t numChains = at<uint32_t>(offset + 4);
  CHORUS_RETURN_IF_ERROR(
      table("hash table", DT_HASH, 8 + 4 * (numBuckets + numChains), offset));
  if (numBuckets == 0 || numChains != count)
    return error("hash table", std::to_string(numChains) +
                                   " symbols, the other hash table has " +
                                   std::to_string(count));
  for (uint64_t i = 0; i < numBuckets + numChains; ++i)
    if (at<uint32_t>(offset + 8 + 4 * i) >= count)
      return error("hash table", "names a symbol that is not there");
  return Status();
}

Status Verifier::symbols(FunctionTable &functions) {
  uint64_t count;
  CHORUS_RETURN_IF_ERROR(countSymbols(count));
  CHORUS_RETURN_IF_ERROR(checkSysvHash(count));
  if (tagValue(DT_SYMENT) != sizeof(Elf64_Sym))
    return error("symbols", "entries of another size");
  uint64_t symbolsAt, stringsAt;
  CHORUS_RETURN_IF_ERROR(
      table("symbols", DT_SYMTAB, count * sizeof(Elf64_Sym), symbolsAt));
  uint64_t stringBytes = tagValue(DT_STRSZ).value_or(0);
  CHORUS_RETURN_IF_ERROR(
      table("symbol names", DT_STRTAB, stringBytes, stringsAt));
  if (stringBytes == 0 || bytes[stringsAt + stringBytes - 1] != 0)
    return error("symbol names", "do not end in a zero byte");
  if (tagValue(DT_SONAME).value_or(0) >= stringBytes)
    return error("dynamic section", "its name is outside the names");
  for (uint64_t i = 1; i < count; ++i) {
    auto symbol = at<Elf64_Sym>(symbolsAt + i * sizeof(Elf64_Sym));
    std::string field = "symbol " + std::to_string(i);
    if (symbol.st_name >= stringBytes)
      return error(field, "its name is outside the names");
    const char *name = reinterpret_cast<const char *>(bytes.data()) +
                       stringsAt + symbol.st_name;
    field += " '" + escapeForMessage(name) + "'";
    if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= SHN_LORESERVE)
      return error(field, "undefined");
    unsigned type = ELF64_ST_TYPE(symbol.st_info);
    if (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE)
      return error(field, "type " + std::to_string(type) +
                              " is neither function nor data");
    if (type != STT_FUNC) {
      if (!mapped(symbol.st_value, symbol.st_size, PF_R, 0))
        return error(field, "outside the image");
      continue;
    }
    // At least one byte of it is in the code.
    uint64_t size = std::max<uint64_t>(symbol.st_size, 1);
    if (!fileOffset(symbol.st_value, size) ||
        !mapped(symbol.st_value, size, PF_X, PF_W))
      return error(field, "address " + hex(symbol.st_value) +
                              " is not inside the code");
    functions.emplace(name, symbol.st_value);
  }
  return Status();
}

Status Verifier::relocations() const {
  if (!has(DT_RELA)) {
    if (tagValue(DT_RELASZ).value_or(0) != 0)
      return error("relocations", "a size without a table");
    return Status();
  }
  uint64_t size = tagValue(DT_RELASZ).value_or(0), offset;
  CHORUS_RETURN_IF_ERROR(table("relocations", DT_RELA, size, offset));
  if (tagValue(DT_RELAENT) != sizeof(Elf64_Rela) || size % sizeof(Elf64_Rela))
    return error("relocations", "entries of another size");
  uint64_t count = size / sizeof(Elf64_Rela);
  if (tagValue(DT_RELACOUNT).value_or(0) > count)
    return error("relocations", "a count above their number");
  for (uint64_t i = 0; i < count; ++i) {
    auto relocation = at<Elf64_Rela>(offset + i * sizeof(Elf64_Rela));
    std::string field = "relocation " + std::to_string(i);
    if (relocation.r_info != ELF64_R_INFO(0, R_X86_64_RELATIVE))
      return error(field, "type " +
                              std::to_string(ELF64_R_TYPE(relocation.r_info)) +
                              ", needed 8 (relative)");
    uint64_t target = relocation.r_offset;
    if (!mapped(target, 8, PF_W, PF_X))
      return error(field, "changes " + hex(target) + ", which is not data");
    if (target < dynamic.p_vaddr + dynamic.p_memsz &&
        target + 8 > dynamic.p_vaddr)
      return error(field, "changes the dynamic section");
    if (relocation.r_addend < 0 ||
        static_cast<uint64_t>(relocation.r_addend) > imageEnd)
      return error(field, "points outside the image");
  }
  return Status();
}

} // namespace

StatusOr<FunctionTable>
chorus::rt::verifyCodeImage(const std::vector<uint8_t> &bytes,
                            const std::string &place) {
  Verifier verifier(bytes, place);
  FunctionTable functions;
  Status status = verifier.header();
  if (status.ok())
    status = verifier.programHeaders();
  if (status.ok())
    status = verifier.dynamicTags();
  if (status.ok())
    status = verifier.symbols(functions);
  if (status.ok())
    status = verifier.relocations();
  if (!status.ok())
    return status;
  return functions;
}
