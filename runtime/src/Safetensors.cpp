//===- Safetensors.cpp - Reading and writing .safetensors -----------------===//

#include "chorus_rt/Safetensors.h"

#include "JsonCursor.h"
#include "chorus_rt/AtomicFile.h"
#include "chorus_rt/ByteReader.h"
#include "chorus_rt/Utf8.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <optional>

namespace chorus::rt {

namespace {

struct DtypeFacts {
  const char *name;
  unsigned bits;
};
constexpr DtypeFacts dtypeFacts[] = {
    {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
    {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
};

constexpr uint64_t maxHeaderBytes = 100'000'000;
// Far above any real file; they bound the memory that a header may cost.
constexpr size_t maxTensors = 1 << 18;
constexpr size_t maxMetadataPairs = 1 << 16;
constexpr size_t maxRank = 64;
constexpr uint64_t maxExactInteger = uint64_t(1) << 53;

std::optional<SafetensorsDtype> findDtype(std::string_view name) {
  for (size_t i = 0; i < std::size(dtypeFacts); ++i)
    if (name == dtypeFacts[i].name)
      return static_cast<SafetensorsDtype>(i);
  return std::nullopt;
}

/// Bytes of a tensor. False if they do not fit 64 bits; `wholeBytes` tells
/// whether sub-byte elements end at a byte's border.
bool tensorBytes(SafetensorsDtype dtype, const std::vector<int64_t> &shape,
                 uint64_t &sizeBytes, bool &wholeBytes) {
  uint64_t elements = 1;
  // A zero anywhere makes the tensor empty, but its other items must not hide
  // a product that wraps.
  bool empty = false;
  for (int64_t dim : shape) {
    empty |= dim == 0;
    if (!checkedMultiply(elements, dim == 0 ? 1 : static_cast<uint64_t>(dim),
                         elements))
      return false;
  }
  uint64_t bits = 0;
  if (!checkedMultiply(elements, safetensorsDtypeBits(dtype), bits))
    return false;
  bits = empty ? 0 : bits;
  wholeBytes = bits % 8 == 0;
  sizeBytes = bits / 8;
  return true;
}

} // namespace

const char *safetensorsDtypeName(SafetensorsDtype dtype) {
  return dtypeFacts[static_cast<size_t>(dtype)].name;
}

unsigned safetensorsDtypeBits(SafetensorsDtype dtype) {
  return dtypeFacts[static_cast<size_t>(dtype)].bits;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// Reads one file's bytes into SafetensorsFile::Contents.
class SafetensorsParser {
public:
  SafetensorsParser(const uint8_t *data, uint64_t size, std::string_view name,
                    SafetensorsFile::Contents &contents)
      : reader(data, size, name), contents(contents), cursor({}) {}

  static StatusOr<SafetensorsFile> parse(const uint8_t *data, uint64_t size,
                                         std::string_view name);
  static StatusOr<SafetensorsFile> open(const std::string &path);

private:
  /// What the header says of a tensor besides what `SafetensorsTensor` keeps.
  struct Range {
    uint64_t begin, end;
    size_t keyOffset;
  };

  Status read();
  Status readHeader();
  Status readEntry(size_t keyOffset, std::string name);
  Status readShape(std::vector<int64_t> &shape, size_t index);
  Status readInteger(uint64_t &value, const char *code, const char *member,
                     size_t index, int64_t memberIndex);
  Status readMetadata();
  Status checkKeys();
  Status checkRange(size_t index);
  Status checkLayout();

  /// A refusal at `offset` bytes into the JSON text.
  Status refuseAt(const char *code, const FieldPath &field, size_t offset,
                  std::string message) const {
    return reader.refuse(code, field, 8 + offset, std::move(message));
  }
  Status malformed() const {
    return refuseAt("S03", "header", cursor.errorOffset(), cursor.error());
  }
  FieldPath field(size_t index, const char *member,
                  int64_t memberIndex = -1) const {
    return {"tensors", static_cast<int64_t>(index), member, memberIndex};
  }
  /// ` (tensor 'NAME')`, to end a message with.
  std::string naming(size_t index) const {
    return " (tensor '" + escapeForMessage(contents.tensors[index].name) + "')";
  }

  ByteReader reader;
  SafetensorsFile::Contents &contents;
  JsonCursor cursor;
  std::vector<Range> ranges;
  const uint8_t *dataSection = nullptr;
  uint64_t dataOffset = 0, dataBytes = 0;
};

Status SafetensorsParser::read() {
  uint64_t headerBytes = 0;
  CHORUS_RETURN_IF_ERROR(reader.read(headerBytes, "S01", "header_length"));
  if (headerBytes == 0 || headerBytes > maxHeaderBytes)
    return reader.refuse("S01", "header_length", 0,
                         "is " + std::to_string(headerBytes) +
                             ", must be 1 to 100000000");
  CHORUS_RETURN_IF_ERROR(
      reader.checkCount(headerBytes, 1, "S01", "header_length", 0));
  std::string_view header;
  CHORUS_RETURN_IF_ERROR(
      reader.readBytes(headerBytes, header, "S01", "header"));
  dataSection = reader.data() + reader.position();
  dataOffset = reader.position();
  dataBytes = reader.remaining();

  if (header.front() != '{')
    return refuseAt("S02", "header", 0,
                    "must begin with '{', begins with '" +
                        escapeForMessage(header.substr(0, 1)) + "'");
  // {"name": {"shape": [ is as deep as a header goes.
  size_t deep = JsonCursor::findDeeperThan(header, 3);
  if (deep != std::string_view::npos)
    return refuseAt("S04", "header", deep, "nested more than 3 deep");
  cursor = JsonCursor(header);
  CHORUS_RETURN_IF_ERROR(readHeader());
  for (size_t i = cursor.offset(); i < header.size(); ++i)
    if (header[i] != ' ')
      return refuseAt("S02", "header", i,
                      "only blanks may follow the JSON object, found '" +
                          escapeForMessage(header.substr(i, 1)) + "'");
  CHORUS_RETURN_IF_ERROR(checkKeys());
  for (size_t i = 0; i < ranges.size(); ++i)
    CHORUS_RETURN_IF_ERROR(checkRange(i));
  return checkLayout();
}

Status SafetensorsParser::readHeader() {
  std::optional<size_t> metadataOffset;
  if (!cursor.expect('{'))
    return malformed();
  if (cursor.take('}'))
    return {};
  do {
    cursor.skipBlanks();
    size_t keyOffset = cursor.offset();
    std::string key;
    if (!cursor.readString(key) || !cursor.expect(':'))
      return malformed();
    if (key == "__metadata__") {
      if (metadataOffset)
        return refuseAt("S05", "__metadata__", keyOffset,
                        "repeats the key at @" +
                            std::to_string(8 + *metadataOffset));
      metadataOffset = keyOffset;
      CHORUS_RETURN_IF_ERROR(readMetadata());
    } else {
      CHORUS_RETURN_IF_ERROR(readEntry(keyOffset, std::move(key)));
    }
  } while (cursor.take(','));
  return cursor.expect('}') ? Status() : malformed();
}

Status SafetensorsParser::readMetadata() {
  cursor.skipBlanks();
  if (cursor.peek() != '{')
    return refuseAt("S04", "__metadata__", cursor.offset(),
                    "must be an object of strings");
  cursor.expect('{');
  if (cursor.take('}'))
    return {};
  std::vector<size_t> offsets;
  do {
    std::string key, value;
    cursor.skipBlanks();
    if (offsets.size() == maxMetadataPairs)
      return limitError(
          "S13", reader.place("__metadata__", 8 + cursor.offset()),
          "more than " + std::to_string(maxMetadataPairs) + " pairs");
    offsets.push_back(cursor.offset());
    if (!cursor.readString(key) || !cursor.expect(':'))
      return malformed();
    cursor.skipBlanks();
    char first = cursor.peek();
    bool startsValue = first == '{' || first == '[' || first == '-' ||
                       (first >= '0' && first <= '9') || first == 't' ||
                       first == 'f' || first == 'n';
    if (startsValue)
      return refuseAt("S04", "__metadata__", cursor.offset(),
                      "value of '" + escapeForMessage(key) +
                          "' must be a string");
    if (!cursor.readString(value))
      return malformed();
    contents.metadata.emplace_back(std::move(key), std::move(value));
  } while (cursor.take(','));
  if (!cursor.expect('}'))
    return malformed();
  auto keyOf = [&](uint32_t i) -> std::string_view {
    return contents.metadata[i].first;
  };
  NameIndex keys;
  keys.build(static_cast<uint32_t>(offsets.size()), keyOf);
  if (auto twice = keys.firstDuplicate(keyOf))
    return refuseAt("S05", "__metadata__", offsets[twice->second],
                    "key '" + escapeForMessage(keyOf(twice->second)) +
                        "' repeats the one at @" +
                        std::to_string(8 + offsets[twice->first]));
  return {};
}

Status SafetensorsParser::readInteger(uint64_t &value, const char *code,
                                      const char *member, size_t index,
                                      int64_t memberIndex) {
  std::string_view digits;
  cursor.skipBlanks();
  size_t offset = cursor.offset();
  if (!cursor.readNumber(digits))
    return malformed();
  bool plain = digits.find_first_not_of("0123456789") == std::string_view::npos;
  value = 0;
  // 2^53 has 16 digits, so 16 digits cannot wrap.
  for (size_t i = 0; plain && i < digits.size(); ++i)
    value = i >= 16 ? UINT64_MAX
                    : value * 10 + static_cast<uint64_t>(digits[i] - '0');
  if (!plain || value > maxExactInteger)
    return refuseAt(code, field(index, member, memberIndex), offset,
                    "is " + escapeForMessage(digits, 32) +
                        ", must be an integer from 0 to 2^53" + naming(index));
  return {};
}

Status SafetensorsParser::readShape(std::vector<int64_t> &shape, size_t index) {
  if (!cursor.expect('['))
    return malformed();
  if (cursor.take(']'))
    return {};
  do {
    uint64_t dim = 0;
    cursor.skipBlanks();
    size_t offset = cursor.offset();
    CHORUS_RETURN_IF_ERROR(readInteger(dim, "S07", "shape", index,
                                       static_cast<int64_t>(shape.size())));
    if (shape.size() == maxRank)
      return refuseAt("S07", field(index, "shape"), offset,
                      "has more than 64 items" + naming(index));
    shape.push_back(static_cast<int64_t>(dim));
  } while (cursor.take(','));
  return cursor.expect(']') ? Status() : malformed();
}

Status SafetensorsParser::readEntry(size_t keyOffset, std::string name) {
  size_t index = contents.tensors.size();
  if (index == maxTensors)
    return limitError("S13", reader.place("tensors", 8 + keyOffset),
                      "more than " + std::to_string(maxTensors) + " tensors");
  contents.tensors.emplace_back();
  SafetensorsTensor &tensor = contents.tensors.back();
  tensor.name = std::move(name);
  Range range = {0, 0, keyOffset};
  std::optional<size_t> dtypeAt, shapeAt, offsetsAt;

  if (!cursor.expect('{'))
    return malformed();
  if (!cursor.take('}')) {
    do {
      cursor.skipBlanks();
      size_t memberOffset = cursor.offset();
      std::string member;
      if (!cursor.readString(member) || !cursor.expect(':'))
        return malformed();
      cursor.skipBlanks();
      size_t valueOffset = cursor.offset();
      std::optional<size_t> *seen = member == "dtype"          ? &dtypeAt
                                    : member == "shape"        ? &shapeAt
                                    : member == "data_offsets" ? &offsetsAt
                                                               : nullptr;
      if (!seen)
        return refuseAt("S03", field(index, nullptr), memberOffset,
                        "unknown key '" + escapeForMessage(member) +
                            "', expected dtype, shape, data_offsets" +
                            naming(index));
      if (*seen)
        return refuseAt("S05", field(index, nullptr), memberOffset,
                        "key '" + member + "' repeats the one at @" +
                            std::to_string(8 + **seen) + naming(index));
      *seen = memberOffset;
      if (seen == &dtypeAt) {
        std::string text;
        if (!cursor.readString(text))
          return malformed();
        std::optional<SafetensorsDtype> dtype = findDtype(text);
        if (!dtype)
          return refuseAt("S06", field(index, "dtype"), valueOffset,
                          "unknown dtype '" + escapeForMessage(text) + "'" +
                              naming(index));
        tensor.dtype = *dtype;
      } else if (seen == &shapeAt) {
        CHORUS_RETURN_IF_ERROR(readShape(tensor.shape, index));
      } else {
        if (!cursor.expect('['))
          return malformed();
        CHORUS_RETURN_IF_ERROR(
            readInteger(range.begin, "S09", "data_offsets", index, 0));
        if (!cursor.expect(','))
          return malformed();
        CHORUS_RETURN_IF_ERROR(
            readInteger(range.end, "S09", "data_offsets", index, 1));
        if (!cursor.expect(']'))
          return malformed();
      }
    } while (cursor.take(','));
    if (!cursor.expect('}'))
      return malformed();
  }
  if (!dtypeAt || !shapeAt || !offsetsAt)
    return refuseAt("S03", field(index, nullptr), keyOffset,
                    std::string("lacks ") +
                        (!dtypeAt   ? "dtype"
                         : !shapeAt ? "shape"
                                    : "data_offsets") +
                        naming(index));
  ranges.push_back(range);
  return {};
}

Status SafetensorsParser::checkKeys() {
  auto nameOf = [&](uint32_t i) -> std::string_view {
    return contents.tensors[i].name;
  };
  contents.names.build(static_cast<uint32_t>(contents.tensors.size()), nameOf);
  if (auto twice = contents.names.firstDuplicate(nameOf))
    return refuseAt("S05", field(twice->second, nullptr),
                    ranges[twice->second].keyOffset,
                    "name repeats the one at @" +
                        std::to_string(8 + ranges[twice->first].keyOffset) +
                        naming(twice->second));
  return {};
}

Status SafetensorsParser::checkRange(size_t index) {
  SafetensorsTensor &tensor = contents.tensors[index];
  const Range &range = ranges[index];
  bool wholeBytes = true;
  if (!tensorBytes(tensor.dtype, tensor.shape, tensor.sizeBytes, wholeBytes))
    return refuseAt("S08", field(index, "shape"), range.keyOffset,
                    "product does not fit 64 bits" + naming(index));
  if (!wholeBytes)
    return refuseAt("S06", field(index, "shape"), range.keyOffset,
                    std::string("elements of ") +
                        safetensorsDtypeName(tensor.dtype) +
                        " do not fill whole bytes" + naming(index));
  FieldPath offsets = field(index, "data_offsets");
  std::string shown = "[" + std::to_string(range.begin) + ", " +
                      std::to_string(range.end) + "] ";
  if (range.begin > range.end)
    return refuseAt("S09", offsets, range.keyOffset,
                    shown + "are reversed" + naming(index));
  if (range.end > dataBytes)
    return refuseAt("S09", offsets, range.keyOffset,
                    shown + "lie beyond the " + std::to_string(dataBytes) +
                        " bytes of data" + naming(index));
  if (range.end - range.begin != tensor.sizeBytes)
    return refuseAt("S10", offsets, range.keyOffset,
                    shown + "hold " + std::to_string(range.end - range.begin) +
                        " bytes, shape and dtype need " +
                        std::to_string(tensor.sizeBytes) + naming(index));
  uint64_t elementBytes = std::max(1u, safetensorsDtypeBits(tensor.dtype) / 8);
  if (range.begin % elementBytes != 0)
    return refuseAt("S09", offsets, range.keyOffset,
                    shown + "are not aligned to elements of " +
                        std::to_string(elementBytes) + " bytes" +
                        naming(index));
  tensor.data = dataSection + range.begin;
  return {};
}

Status SafetensorsParser::checkLayout() {
  std::vector<uint32_t> order(ranges.size());
  std::iota(order.begin(), order.end(), 0u);
  // Empty tensors come before the one that begins where they stand.
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (ranges[a].begin != ranges[b].begin)
      return ranges[a].begin < ranges[b].begin;
    if (ranges[a].end != ranges[b].end)
      return ranges[a].end < ranges[b].end;
    return a < b;
  });
  uint64_t covered = 0;
  for (uint32_t index : order) {
    const Range &range = ranges[index];
    if (range.begin == covered) {
      covered = range.end;
      continue;
    }
    bool empty = range.begin == range.end;
    if (range.begin < covered)
      return refuseAt(empty ? "S10" : "S09", field(index, "data_offsets"),
                      range.keyOffset,
                      (empty ? "empty tensor inside another one's bytes at "
                             : "overlaps another tensor at ") +
                          std::to_string(range.begin) + naming(index));
    return refuseAt("S09", field(index, "data_offsets"), range.keyOffset,
                    "leaves a hole from " + std::to_string(covered) + " to " +
                        std::to_string(range.begin) + naming(index));
  }
  if (covered != dataBytes)
    return reader.refuse("S11", "data", dataOffset + covered,
                         std::to_string(dataBytes - covered) +
                             " bytes follow the last tensor");
  return {};
}

StatusOr<SafetensorsFile> SafetensorsParser::parse(const uint8_t *data,
                                                   uint64_t size,
                                                   std::string_view name) {
  try {
    SafetensorsFile file;
    file.contents = std::make_unique<SafetensorsFile::Contents>();
    SafetensorsParser parser(data, size, name, *file.contents);
    CHORUS_RETURN_IF_ERROR(parser.read());
    return file;
  } catch (const std::bad_alloc &) {
    return limitError("memory", "", "no memory for a safetensors header");
  }
}

StatusOr<SafetensorsFile> SafetensorsParser::open(const std::string &path) {
  try {
    StatusOr<FileMapping> mapping = FileMapping::open(path);
    if (!mapping.ok())
      return mapping.status();
    StatusOr<SafetensorsFile> file =
        parse(mapping->data(), mapping->size(), path);
    // What a changing file looked like says nothing: report the change.
    CHORUS_RETURN_IF_ERROR(mapping->checkUnchanged("G26"));
    if (!file.ok())
      return file.status();
    file->contents->mapping =
        std::make_unique<FileMapping>(std::move(*mapping));
    return file;
  } catch (const std::bad_alloc &) {
    return limitError("memory", "", "no memory for a safetensors header");
  }
}

StatusOr<SafetensorsFile> SafetensorsFile::open(const std::string &path) {
  return SafetensorsParser::open(path);
}

StatusOr<SafetensorsFile> SafetensorsFile::parse(const uint8_t *data,
                                                 uint64_t size,
                                                 std::string_view name) {
  return SafetensorsParser::parse(data, size, name);
}

const SafetensorsTensor *SafetensorsFile::find(std::string_view name) const {
  std::optional<uint32_t> index =
      contents->names.find(name, [&](uint32_t i) -> std::string_view {
        return contents->tensors[i].name;
      });
  return index ? &contents->tensors[*index] : nullptr;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

static void appendJsonString(std::string &out, std::string_view text) {
  static const char *digits = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\b') {
      out += "\\b";
    } else if (c == '\f') {
      out += "\\f";
    } else if (byte < 0x20) {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

/// The JSON text, with blanks up to a multiple of 8 bytes. Tensors and pairs
/// are in their final order.
static std::string
headerText(const std::vector<SafetensorsOutput> &tensors,
           const std::vector<std::pair<std::string, std::string>> &metadata) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (size_t i = 0; i < metadata.size(); ++i) {
      header += i == 0 ? "" : ",";
      appendJsonString(header, metadata[i].first);
      header += ':';
      appendJsonString(header, metadata[i].second);
    }
    header += '}';
  }
  uint64_t offset = 0;
  for (const SafetensorsOutput &tensor : tensors) {
    header += header.size() == 1 ? "" : ",";
    appendJsonString(header, tensor.name);
    header += std::string(":{\"dtype\":\"") +
              safetensorsDtypeName(tensor.dtype) + "\",\"shape\":[";
    for (size_t i = 0; i < tensor.shape.size(); ++i)
      header += (i == 0 ? "" : ",") + std::to_string(tensor.shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(offset) + "," +
              std::to_string(offset + tensor.sizeBytes) + "]}";
    offset += tensor.sizeBytes;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

Status
writeSafetensors(const std::string &path,
                 std::vector<SafetensorsOutput> tensors,
                 std::vector<std::pair<std::string, std::string>> metadata) {
  auto wrong = [&](const SafetensorsOutput &tensor, const char *what) {
    return Status::error(
        ExitCode::Internal, "internal", escapeForMessage(path, 200),
        "tensor '" + escapeForMessage(tensor.name) + "' " + what);
  };
  try {
    std::sort(tensors.begin(), tensors.end(),
              [](const SafetensorsOutput &a, const SafetensorsOutput &b) {
                return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
              });
    std::sort(metadata.begin(), metadata.end());
    NameIndex names;
    auto nameOf = [&](uint32_t i) -> std::string_view {
      return tensors[i].name;
    };
    names.build(static_cast<uint32_t>(tensors.size()), nameOf);
    if (auto twice = names.firstDuplicate(nameOf))
      return wrong(tensors[twice->second], "is given twice");
    for (const SafetensorsOutput &tensor : tensors) {
      uint64_t needed = 0;
      bool wholeBytes = true;
      if (findInvalidUtf8(tensor.name) != std::string_view::npos ||
          tensor.name == "__metadata__")
        return wrong(tensor, "has a name that the format cannot hold");
      for (int64_t dim : tensor.shape)
        if (dim < 0)
          return wrong(tensor, "has a negative dimension");
      if (!tensorBytes(tensor.dtype, tensor.shape, needed, wholeBytes) ||
          !wholeBytes || needed != tensor.sizeBytes)
        return wrong(tensor, "has bytes that do not fit its shape");
    }
    std::string header = headerText(tensors, metadata);
    if (header.size() > maxHeaderBytes)
      return limitError("S01", escapeForMessage(path, 200),
                        "header would exceed 100000000 bytes");
    StatusOr<AtomicFile> file = AtomicFile::create(path);
    if (!file.ok())
      return file.status();
    uint64_t headerBytes = header.size();
    CHORUS_RETURN_IF_ERROR(file->append(&headerBytes, sizeof headerBytes));
    CHORUS_RETURN_IF_ERROR(file->append(header.data(), header.size()));
    for (const SafetensorsOutput &tensor : tensors)
      CHORUS_RETURN_IF_ERROR(file->append(tensor.data, tensor.sizeBytes));
    return file->commit();
  } catch (const std::bad_alloc &) {
    return limitError("memory", escapeForMessage(path, 200),
                      "no memory to write the file's header");
  }
}

} // namespace chorus::rt
