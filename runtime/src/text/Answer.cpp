//===- Answer.cpp - The answer that a text gives --------------------------===//

#include "chorus_rt/Answer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <new>

namespace chorus::rt {

/// What one match may cost: steps of backtracking from one start, and KiB.
static constexpr uint32_t maxMatchSteps = 1'000'000;
static constexpr uint32_t maxMatchKiB = 64 * 1024;

static bool isNumberByte(char c) {
  return (c >= '0' && c <= '9') || c == '.' || c == ',';
}

static std::string withoutCommas(std::string_view text) {
  std::string result(text);
  result.erase(std::remove(result.begin(), result.end(), ','), result.end());
  return result;
}

std::optional<std::string> gsm8kAnswer(std::string_view text) {
  static constexpr std::string_view marker = "#### ";
  for (size_t at = text.find(marker); at != std::string_view::npos;
       at = text.find(marker, at + 1)) {
    std::string_view rest = text.substr(at + marker.size());
    size_t sign = !rest.empty() && rest[0] == '-', end = sign;
    while (end < rest.size() && isNumberByte(rest[end]))
      ++end;
    if (end > sign)
      return withoutCommas(rest.substr(0, end));
  }
  return std::nullopt;
}

static std::string normalised(std::string_view text) {
  static constexpr std::string_view blanks = " \t\n\v\f\r";
  size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos)
    return "";
  text = text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
  bool isNumber =
      std::all_of(text.begin() + (text[0] == '-'), text.end(), isNumberByte);
  return isNumber ? withoutCommas(text) : std::string(text);
}

static std::string describe(int error) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(error, buffer, sizeof(buffer)) < 0)
    return "PCRE2 error " + std::to_string(error);
  return reinterpret_cast<const char *>(buffer);
}

StatusOr<AnswerRule> AnswerRule::fromPattern(std::string_view pattern) {
  int error;
  PCRE2_SIZE where;
  pcre2_code *code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
      PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &error,
      &where, nullptr);
  if (!code && error == PCRE2_ERROR_HEAP_FAILED)
    return limitError("N10", "answer pattern", "out of memory");
  if (!code)
    return usageError("answer pattern '" + escapeForMessage(pattern) + "' @" +
                      std::to_string(where) + ": " + describe(error));
  AnswerRule rule;
  rule.pattern.reset(code, pcre2_code_free);
  return rule;
}

StatusOr<std::optional<std::string>>
AnswerRule::match(std::string_view text) const {
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> data(
      pcre2_match_data_create_from_pattern(pattern.get(), nullptr),
      pcre2_match_data_free);
  std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context *)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  if (!data || !context)
    throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), maxMatchSteps);
  pcre2_set_heap_limit(context.get(), maxMatchKiB);
  int groups =
      pcre2_match(pattern.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                  text.size(), 0, 0, data.get(), context.get());
  if (groups == PCRE2_ERROR_NOMATCH)
    return std::optional<std::string>();
  if (groups < 0)
    return limitError("limit", "answer pattern",
                      "it takes too long on this text: " + describe(groups));
  const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(data.get());
  int group = 1;
  while (group < groups && bounds[2 * group] == PCRE2_UNSET)
    ++group;
  if (group >= groups)
    group = 0;
  size_t begin = bounds[2 * group];
  return std::optional<std::string>(
      text.substr(begin, bounds[2 * group + 1] - begin));
}

StatusOr<std::optional<std::string>>
AnswerRule::find(std::string_view text) const try {
  std::optional<std::string> answer;
  if (pattern) {
    StatusOr<std::optional<std::string>> found = match(text);
    CHORUS_RETURN_IF_ERROR(found.status());
    answer = std::move(*found);
  } else {
    answer = gsm8kAnswer(text).value_or(std::string(text));
  }
  if (answer)
    answer = normalised(*answer);
  if (answer && answer->empty())
    answer.reset();
  return answer;
} catch (const std::bad_alloc &) {
  return limitError("N10", "answer pattern", "out of memory");
}

StatusOr<std::string> AnswerRule::reference(std::string_view text) const try {
  StatusOr<std::optional<std::string>> found = find(text);
  CHORUS_RETURN_IF_ERROR(found.status());
  return found->value_or(normalised(text));
} catch (const std::bad_alloc &) {
  return limitError("N10", "answer pattern", "out of memory");
}

} // namespace chorus::rt
