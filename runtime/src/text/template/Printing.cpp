//===- Printing.cpp - str() and repr() of values --------------------------===//

#include "Unicode.h"
#include "Value.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace chorus::rt::jinja {

std::string formatFloat(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  // Shortest digits that read back as the same number: d.ddde±xx.
  char buffer[40];
  char *end = std::to_chars(buffer, buffer + sizeof buffer, value,
                            std::chars_format::scientific)
                  .ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  std::string out;
  if (text[0] == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 1)
    digits += text.substr(2, e - 2);
  int exponent = 0;
  bool isNegative = text[e + 1] == '-';
  std::from_chars(text.data() + e + 2, text.data() + text.size(), exponent);
  if (isNegative)
    exponent = -exponent;

  int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (count > 1)
      out += "." + digits.substr(1);
    int magnitude = exponent < 0 ? -exponent : exponent;
    out += exponent < 0 ? "e-" : "e+";
    out += (magnitude < 10 ? "0" : "") + std::to_string(magnitude);
  } else if (exponent < 0) {
    out += "0.";
    out.append(static_cast<size_t>(-exponent) - 1, '0');
    out += digits;
  } else if (count <= exponent + 1) {
    out += digits;
    out.append(static_cast<size_t>(exponent) + 1 - digits.size(), '0');
    out += ".0";
  } else {
    size_t whole = static_cast<size_t>(exponent) + 1;
    out += digits.substr(0, whole) + "." + digits.substr(whole);
  }
  return out;
}

namespace {

void appendEscaped(std::string &out, char32_t c, char quote) {
  char buffer[12];
  if (c == static_cast<unsigned char>(quote) || c == '\\')
    std::snprintf(buffer, sizeof buffer, "\\%c", static_cast<char>(c));
  else if (c == '\n')
    std::snprintf(buffer, sizeof buffer, "\\n");
  else if (c == '\r')
    std::snprintf(buffer, sizeof buffer, "\\r");
  else if (c == '\t')
    std::snprintf(buffer, sizeof buffer, "\\t");
  else if (c <= 0xFF)
    std::snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned>(c));
  else if (c <= 0xFFFF)
    std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c));
  else
    std::snprintf(buffer, sizeof buffer, "\\U%08x", static_cast<unsigned>(c));
  out += buffer;
}

/// The quotes are the template's, what stands between them keeps its marks.
void appendStringRepr(TextBuilder &out, RenderState &state,
                      const StringObject &string) {
  state.chargeText(string.text.size() * 8);
  std::string_view text = string.view();
  char quote = text.find('\'') != std::string_view::npos &&
                       text.find('"') == std::string_view::npos
                   ? '"'
                   : '\'';
  out.append({&quote, 1}, false);
  size_t offset = 0;
  for (const MarkedText::Run &run : string.text.marks()) {
    std::string piece;
    while (offset < run.end) {
      size_t begin = offset;
      char32_t c = decodeCodePoint(text, offset);
      if (c == static_cast<unsigned char>(quote) || c == '\\' ||
          !isPrintable(c))
        appendEscaped(piece, c, quote);
      else
        piece += text.substr(begin, offset - begin);
    }
    out.append(piece, run.isUser);
  }
  out.append({&quote, 1}, false);
}

void appendItems(TextBuilder &out, RenderState &state,
                 const SequenceObject &sequence, const char *open,
                 const char *close) {
  out.append(open, false);
  for (size_t i = 0; i < sequence.items.size(); ++i) {
    if (i > 0)
      out.append(", ", false);
    appendRepr(out, state, sequence.items[i]);
  }
  if (sequence.kind == SequenceKind::Tuple && sequence.items.size() == 1)
    out.append(",", false);
  out.append(close, false);
}

void appendSequenceRepr(TextBuilder &out, RenderState &state,
                        const SequenceObject &sequence) {
  switch (sequence.kind) {
  case SequenceKind::List:
    return appendItems(out, state, sequence, "[", "]");
  case SequenceKind::Tuple:
    return appendItems(out, state, sequence, "(", ")");
  case SequenceKind::Keys:
    return appendItems(out, state, sequence, "dict_keys([", "])");
  case SequenceKind::Values:
    return appendItems(out, state, sequence, "dict_values([", "])");
  case SequenceKind::Items:
    return appendItems(out, state, sequence, "dict_items([", "])");
  case SequenceKind::Range: {
    std::string text = "range(" + std::to_string(sequence.start) + ", " +
                       std::to_string(sequence.stop);
    if (sequence.step != 1)
      text += ", " + std::to_string(sequence.step);
    out.append(text + ")", false);
    return;
  }
  case SequenceKind::Generator:
    break;
  }
  state.fail("cannot print a generator; make it a list first");
}

void appendDictRepr(TextBuilder &out, RenderState &state,
                    const DictObject &dict) {
  out.append("{", false);
  bool first = true;
  for (const auto &[key, value] : dict.entries) {
    if (!first)
      out.append(", ", false);
    first = false;
    appendRepr(out, state, key);
    out.append(": ", false);
    appendRepr(out, state, value);
  }
  out.append("}", false);
}

} // namespace

void appendRepr(TextBuilder &out, RenderState &state, const Value &value) {
  state.charge();
  if (const StringObject *text = asString(value)) {
    if (text->isSafe)
      out.append("Markup(", false);
    appendStringRepr(out, state, *text);
    if (text->isSafe)
      out.append(")", false);
    return;
  }
  if (const SequenceObject *sequence = asSequence(value))
    return appendSequenceRepr(out, state, *sequence);
  if (const DictObject *dict = asDict(value))
    return appendDictRepr(out, state, *dict);
  if (is<None>(value))
    out.append("None", false);
  else if (const bool *boolean = std::get_if<bool>(&value))
    out.append(*boolean ? "True" : "False", false);
  else if (const int64_t *integer = std::get_if<int64_t>(&value))
    out.append(std::to_string(*integer), false);
  else if (const double *number = std::get_if<double>(&value))
    out.append(formatFloat(*number), false);
  else if (is<Undefined>(value))
    out.append("Undefined", false);
  else
    state.fail(std::string("cannot print a ") + typeName(value));
}

void appendStr(TextBuilder &out, RenderState &state, const Value &value) {
  if (const StringObject *text = asString(value))
    out.append(text->text);
  else if (!is<Undefined>(value))
    appendRepr(out, state, value);
}

Value toString(RenderState &state, const Value &value) {
  if (is<StringRef>(value))
    return value;
  TextBuilder out(state);
  appendStr(out, state, value);
  return makeString(state, out.take());
}

Value escapeHtml(RenderState &state, const StringObject &text) {
  if (text.isSafe)
    return makeString(state, text.text, /*isSafe=*/true);
  state.chargeText(text.text.size() * 4);
  TextBuilder out(state);
  size_t offset = 0;
  for (const MarkedText::Run &run : text.text.marks()) {
    std::string piece;
    for (; offset < run.end; ++offset) {
      char c = text.view()[offset];
      static constexpr std::string_view special = "&<>'\"";
      static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&#39;",
                                             "&#34;"};
      size_t i = special.find(c);
      if (i == std::string_view::npos)
        piece += c;
      else
        piece += entities[i];
    }
    out.append(piece, run.isUser);
  }
  return makeString(state, out.take(), /*isSafe=*/true);
}

std::string plainText(RenderState &state, const Value &value) {
  TextBuilder out(state);
  appendStr(out, state, value);
  return std::string(out.take().view());
}

} // namespace chorus::rt::jinja
