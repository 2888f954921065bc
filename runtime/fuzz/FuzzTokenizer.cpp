//===- FuzzTokenizer.cpp - Tokenizer segments and texts -------------------===//
//
// After a byte that chooses, the input is a tokenizer segment, or a text for a
// small good one; what is accepted is used: every id, both ways to encode,
// spans.
//
//===----------------------------------------------------------------------===//

#include "chorus_rt/Detokenizer.h"
#include "chorus_rt/Tokenizer.h"
#include "chorus_rt/TokenizerBuilder.h"
#include "chorus_rt/Utf8.h"

#include <cstdlib>

using namespace chorus::rt;

namespace {

void require(bool condition) {
  if (!condition)
    std::abort();
}

std::string smallSegment(uint8_t choice) {
  static const char *const rules[] = {"gpt-2", "llama-bpe", "smollm"};
  TokenizerSource source;
  source.pre = rules[choice % 3];
  source.tokens = {"a",  "b",  "ab",    "\u0120", "\u0120a", "\u00C3",
                   "1",  "\n", "<",     "|",      ">",       "<|",
                   "'s", "s",  "<s>",   "<s><s>", "|>",      "[T]",
                   "'",  "T",  "\u010A"};
  source.kinds.assign(source.tokens.size(), int32_t(TokenKind::Normal));
  source.kinds[14] = source.kinds[15] = int32_t(TokenKind::Control);
  source.kinds[17] = int32_t(TokenKind::UserDefined);
  source.merges = {"a b", "\u0120 a", "< |", "' s", "| >"};
  StatusOr<std::string> segment = buildTokenizerSegment(source);
  require(segment.ok());
  return *segment;
}

void use(const Tokenizer &tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  bool isValid = findInvalidUtf8(text) == std::string_view::npos;
  for (bool parseSpecial : {false, true}) {
    require(tokenizer.encode(text, parseSpecial, ids).ok() == isValid);
    Detokenizer detokenizer;
    std::string output;
    for (int32_t id : ids) {
      require(detokenizer.append(tokenizer, id, output).ok());
      require(parseSpecial || *tokenizer.kind(id) != TokenKind::Control);
    }
    detokenizer.flush(output);
    require(findInvalidUtf8(output) == std::string_view::npos);
  }
  // Two spans: the same text, so valid if and only if the whole is.
  std::vector<TextSpan> spans(2);
  spans[0].text = text.substr(0, text.size() / 2);
  spans[0].isUserText = true;
  spans[1].text = text.substr(text.size() / 2);
  require(tokenizer.encode(spans, ids).ok() == isValid);
  for (int32_t id = 0; id < tokenizer.size(); ++id)
    require(tokenizer.tokenBytes(id).ok() && tokenizer.tokenText(id).ok());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  std::string_view input(reinterpret_cast<const char *>(data) + 1, size - 1);
  uint8_t choice = data[0];
  if (choice < 0x80) {
    StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(input);
    if (tokenizer.ok())
      use(**tokenizer, "a b's <s>\n12 [T]\u00E9");
    return 0;
  }
  StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::create(smallSegment(choice));
  require(tokenizer.ok());
  use(**tokenizer, input);
  return 0;
}
