//===- ChatTemplate.cpp - Messages to prompt text -------------------------===//

#include "chorus_rt/ChatTemplate.h"

#include "Evaluator.h"
#include "Lexer.h"
#include "chorus_rt/Utf8.h"

#include <nlohmann/json.hpp>

#include <new>
#include <stdexcept>
#include <type_traits>

namespace chorus::rt {

namespace {

constexpr size_t maxSourceBytes = size_t(1) << 20;

Status toStatus(const jinja::TemplateError &error) {
  std::string place = "chat template";
  if (error.at.line != 0)
    place += ":" + std::to_string(error.at.line) + ":" +
             std::to_string(error.at.column);
  return refused(error.code, place, error.message);
}

/// What `work` returns, or the error that it ended with.
template <typename Work> std::invoke_result_t<Work> guarded(Work work) {
  auto outOfMemory = [] {
    return limitError("T12", "chat template", "out of memory");
  };
  try {
    return work();
  } catch (const jinja::TemplateError &error) {
    return toStatus(error);
  } catch (const std::bad_alloc &) {
    return outOfMemory();
  } catch (const std::length_error &) {
    return outOfMemory();
  }
}

} // namespace

StatusOr<ChatTemplate> ChatTemplate::parse(std::string source) {
  return guarded([&]() -> StatusOr<ChatTemplate> {
    if (source.size() > maxSourceBytes)
      return refused("T12", "chat template",
                     "template has " + std::to_string(source.size()) +
                         " bytes, at most " + std::to_string(maxSourceBytes) +
                         " are allowed");
    size_t invalid = findInvalidUtf8(source);
    if (invalid != std::string_view::npos)
      return refused("template", "chat template",
                     "template is not UTF-8 at byte " +
                         std::to_string(invalid));
    ChatTemplate result;
    result.program = std::make_shared<const jinja::Program>(
        jinja::parseTemplate(jinja::normalizeNewlines(std::move(source))));
    return result;
  });
}

StatusOr<std::vector<TextSpan>>
ChatTemplate::render(const nlohmann::ordered_json &context,
                     const RenderOptions &options) const {
  return guarded([&]() -> StatusOr<std::vector<TextSpan>> {
    if (!context.is_object())
      return refused("template", "chat template",
                     "the context is not a JSON object");
    jinja::MarkedText text =
        jinja::Evaluator(*program, context, options).render();
    std::vector<TextSpan> spans;
    size_t begin = 0;
    for (const jinja::MarkedText::Run &run : text.marks()) {
      spans.push_back({std::string(text.view().substr(begin, run.end - begin)),
                       run.isUser});
      begin = run.end;
    }
    return spans;
  });
}

} // namespace chorus::rt
