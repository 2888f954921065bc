//===- PreTokenizer.cpp - Text to words -----------------------------------===//

#include "PreTokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>
#include <string>

namespace chorus::rt {
namespace {

// Unicode's White_Space, spelled out: PCRE2's own \s lacks U+0085 without UCP
// and has U+180E, which is no blank since Unicode 6.3, with it.
#define BLANKS                                                                 \
  "\\x09-\\x0D\\x20\\x85\\xA0\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}"   \
  "\\x{202F}\\x{205F}\\x{3000}"
#define BLANK "[" BLANKS "]"
#define NOT_BLANK "[^" BLANKS "]"
// What is neither blank nor letter nor number: punctuation, symbols, marks,
// controls and what Unicode has not assigned.
#define OTHER "[^" BLANKS "\\p{L}\\p{N}]"

// The contractions of English, letters with a blank before them, and so on;
// of several blanks the last goes to the word after them. Everything that
// could match, matches at least one character.
constexpr PreTokenizerRule rules[] = {
    {"gpt-2",
     "'(?:[stmd]|re|ve|ll)|\\x20?\\p{L}+|\\x20?\\p{N}+|\\x20?" OTHER "+"
     "|" BLANK "+(?!" NOT_BLANK ")|" BLANK "+",
     /*ignoreMerges=*/false, /*addBosByDefault=*/false},
    {"llama-bpe",
     "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
     "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\x20?" OTHER "+[\\r\\n]*"
     "|" BLANK "*[\\r\\n]+"
     "|" BLANK "+(?!" NOT_BLANK ")|" BLANK "+",
     /*ignoreMerges=*/true, /*addBosByDefault=*/true},
    // Numbers are cut out first, one character each; the rest is as in gpt-2,
    // and a number ends it as the end of the text would.
    {"smollm",
     "\\p{N}|'(?:[stmd]|re|ve|ll)|\\x20?\\p{L}+|\\x20?" OTHER "+"
     "|" BLANK "+(?![^" BLANKS "\\p{N}])|" BLANK "+",
     /*ignoreMerges=*/false, /*addBosByDefault=*/false},
};

#undef BLANKS
#undef BLANK
#undef NOT_BLANK
#undef OTHER

std::string describe(int error) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(error, buffer, sizeof(buffer)) < 0)
    return "PCRE2 error " + std::to_string(error);
  return reinterpret_cast<const char *>(buffer);
}

} // namespace

const PreTokenizerRule *findPreTokenizerRule(std::string_view name) {
  for (const PreTokenizerRule &rule : rules)
    if (rule.name == name)
      return &rule;
  return nullptr;
}

void PreTokenizer::Deleter::operator()(pcre2_real_code_8 *code) const {
  pcre2_code_free(code);
}

StatusOr<PreTokenizer> PreTokenizer::create(const PreTokenizerRule &rule) {
  int error;
  PCRE2_SIZE where;
  PreTokenizer result;
  result.code.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(rule.pattern), PCRE2_ZERO_TERMINATED,
      PCRE2_UTF | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error, &where,
      nullptr));
  if (!result.code)
    return limitError("N10", "pre-tokeniser " + std::string(rule.name),
                      describe(error));
  // Where machine code may not be made at run time, PCRE2 interprets.
  pcre2_jit_compile(result.code.get(), PCRE2_JIT_COMPLETE);
  return result;
}

struct PreTokenizer::Words::Workspace {
  pcre2_match_data *match = nullptr;
  pcre2_match_context *context = nullptr;

  ~Workspace() {
    pcre2_match_data_free(match);
    pcre2_match_context_free(context);
  }
};

PreTokenizer::Words::Words(const PreTokenizer &preTokenizer)
    : preTokenizer(preTokenizer), workspace(std::make_unique<Workspace>()) {
  workspace->match = pcre2_match_data_create(1, nullptr);
  workspace->context = pcre2_match_context_create(nullptr);
  if (!workspace->match || !workspace->context)
    throw std::bad_alloc();
  // The patterns have no nested repeats, so backtracking is bounded: in depth
  // by a constant, in steps by the blanks of one word.
  pcre2_set_depth_limit(workspace->context, 1000);
}

PreTokenizer::Words::~Words() = default;

StatusOr<size_t> PreTokenizer::Words::wordLength(std::string_view text,
                                                 size_t offset) {
  size_t left = text.size() - offset;
  pcre2_set_match_limit(workspace->context,
                        static_cast<uint32_t>(4 * left + 1000));
  int result = pcre2_match(preTokenizer.code.get(),
                           reinterpret_cast<PCRE2_SPTR>(text.data()),
                           text.size(), offset, PCRE2_NO_UTF_CHECK,
                           workspace->match, workspace->context);
  if (result < 0)
    return limitError("T08", "text",
                      "the pre-tokeniser stops: " + describe(result));
  return pcre2_get_ovector_pointer(workspace->match)[1] - offset;
}

} // namespace chorus::rt
