//===- Json.cpp - The filter tojson ---------------------------------------===//
//
// As Hugging Face renders templates: Python's json.dumps with ensure_ascii off.
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"
#include "Unicode.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace chorus::rt::jinja {

namespace {

class JsonWriter {
public:
  JsonWriter(RenderState &state, BoundArguments &bound)
      : state(state), out(state) {
    asciiOnly = bound.flag(0, false);
    if (bound[1] && !is<None>(*bound[1])) {
      hasIndent = true;
      if (const StringObject *text = asString(*bound[1])) {
        indent = text->text;
      } else {
        int64_t width = std::max<int64_t>(bound.integer(1, 0), 0);
        state.chargeValue(static_cast<size_t>(width));
        indent =
            MarkedText(std::string(static_cast<size_t>(width), ' '), false);
      }
    }
    itemSeparator = MarkedText(hasIndent ? "," : ", ", false);
    keySeparator = MarkedText(": ", false);
    if (bound[2] && !is<None>(*bound[2]))
      setSeparators(*bound[2]);
    sortsKeys = bound.flag(3, false);
  }

  void write(const Value &value) {
    RenderState::Nesting nesting(state);
    state.charge();
    if (const StringObject *text = asString(value))
      return writeString(*text);
    if (const DictObject *dict = asDict(value))
      return writeDict(*dict);
    const SequenceObject *sequence = asSequence(value);
    if (sequence && (sequence->kind == SequenceKind::List ||
                     sequence->kind == SequenceKind::Tuple))
      return writeList(*sequence);
    std::optional<std::string> text = scalarText(value);
    if (!text)
      state.fail(std::string("tojson cannot write '") + typeName(value) + "'");
    out.append(*text, false);
  }

  MarkedText take() { return out.take(); }

private:
  void setSeparators(const Value &separators) {
    std::vector<Value> parts = collect(state, separators);
    if (parts.size() != 2 || !asString(parts[0]) || !asString(parts[1]))
      state.fail("tojson needs separators as a pair of strings");
    itemSeparator = asString(parts[0])->text;
    keySeparator = asString(parts[1])->text;
  }

  static std::optional<std::string> scalarText(const Value &value) {
    if (is<None>(value))
      return "null";
    if (const bool *boolean = std::get_if<bool>(&value))
      return *boolean ? "true" : "false";
    if (const int64_t *integer = std::get_if<int64_t>(&value))
      return std::to_string(*integer);
    if (const double *number = std::get_if<double>(&value)) {
      if (std::isnan(*number))
        return "NaN";
      if (std::isinf(*number))
        return *number < 0 ? "-Infinity" : "Infinity";
      return formatFloat(*number);
    }
    return std::nullopt;
  }

  void appendEscaped(std::string &piece, char32_t c, std::string_view bytes) {
    char buffer[16];
    static constexpr std::string_view from = "\"\\\n\r\t\f\b";
    static constexpr std::string_view to = "\"\\nrtfb";
    size_t simple =
        c < 0x80 ? from.find(static_cast<char>(c)) : std::string_view::npos;
    if (simple != std::string_view::npos) {
      piece += '\\';
      piece += to[simple];
    } else if (c < 0x20 || (asciiOnly && c >= 0x7F && c <= 0xFFFF)) {
      std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c));
      piece += buffer;
    } else if (asciiOnly && c > 0xFFFF) {
      unsigned rest = static_cast<unsigned>(c) - 0x10000;
      std::snprintf(buffer, sizeof buffer, "\\u%04x\\u%04x",
                    0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
      piece += buffer;
    } else {
      piece += bytes;
    }
  }

  /// The quotes are the template's, what stands between them keeps its marks.
  void writeString(const StringObject &string) {
    state.chargeText(string.text.size() * 4);
    out.append("\"", false);
    size_t offset = 0;
    for (const MarkedText::Run &run : string.text.marks()) {
      std::string piece;
      while (offset < run.end) {
        size_t begin = offset;
        char32_t c = decodeCodePoint(string.view(), offset);
        appendEscaped(piece, c, string.view().substr(begin, offset - begin));
      }
      out.append(piece, run.isUser);
    }
    out.append("\"", false);
  }

  void newLine() {
    if (!hasIndent)
      return;
    out.append("\n", false);
    for (unsigned i = 0; i < level; ++i)
      out.append(indent);
  }

  void writeList(const SequenceObject &list) {
    if (list.items.empty())
      return out.append("[]", false);
    out.append("[", false);
    ++level;
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0)
        out.append(itemSeparator);
      newLine();
      write(list.items[i]);
    }
    --level;
    newLine();
    out.append("]", false);
  }

  void writeKey(const Value &key) {
    if (const StringObject *text = asString(key))
      return writeString(*text);
    std::optional<std::string> text = scalarText(key);
    if (!text)
      state.fail(std::string("tojson cannot write a key of type '") +
                 typeName(key) + "'");
    out.append("\"" + *text + "\"", false);
  }

  void writeDict(const DictObject &dict) {
    if (dict.entries.empty())
      return out.append("{}", false);
    std::vector<size_t> order(dict.entries.size());
    for (size_t i = 0; i < order.size(); ++i)
      order[i] = i;
    if (sortsKeys) {
      std::vector<Value> keys;
      keys.reserve(dict.entries.size());
      for (const auto &entry : dict.entries)
        keys.push_back(entry.first);
      order = sortedOrder(state, keys, /*reverse=*/false);
    }
    out.append("{", false);
    ++level;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0)
        out.append(itemSeparator);
      newLine();
      const auto &[key, value] = dict.entries[order[i]];
      writeKey(key);
      out.append(keySeparator);
      write(value);
    }
    --level;
    newLine();
    out.append("}", false);
  }

  RenderState &state;
  TextBuilder out;
  bool asciiOnly = false, sortsKeys = false, hasIndent = false;
  MarkedText indent, itemSeparator, keySeparator;
  unsigned level = 0;
};

} // namespace

Value toJson(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  BoundArguments bound(evaluator.state, "tojson", arguments,
                       {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonWriter writer(evaluator.state, bound);
  writer.write(input);
  return makeString(evaluator.state, writer.take());
}

} // namespace chorus::rt::jinja
