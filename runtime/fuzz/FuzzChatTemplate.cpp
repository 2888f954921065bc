//===- FuzzChatTemplate.cpp - libFuzzer target of chat templates ----------===//

#include "chorus_rt/ChatTemplate.h"
#include "chorus_rt/Utf8.h"

#include <nlohmann/json.hpp>

#include <string>

using namespace chorus::rt;

static const nlohmann::ordered_json &context() {
  static const auto json = nlohmann::ordered_json::parse(R"({
    "messages": [
      {"role": "system", "content": "S\u00e4 <|x|>"},
      {"role": "user", "content": [{"type": "text", "text": " a,b\n\ud83d\ude00"}]},
      {"role": "assistant", "content": null,
       "tool_calls": [{"id": "i", "function": {"name": "f", "arguments": {"x": 1.5, "y": [true, -3]}}}]},
      {"role": "tool", "content": "\u03a3\u03a3 \u01c6 'q' \"r\" \\ \u0001\u2028"}],
    "tools": [{"function": {"name": "f", "parameters": {"type": "object"}}}],
    "a": "text", "b": [3, 1, 2], "c": {"k": "v"}, "n": 7,
    "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"})");
  return json;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto parsed = ChatTemplate::parse(
      std::string(reinterpret_cast<const char *>(data), size));
  Status status = parsed.status();
  if (parsed.ok()) {
    RenderOptions options;
    options.budget.maxSteps = 100'000;
    options.budget.maxOutputBytes = 1 << 20;
    options.budget.maxValueBytes = 16 << 20;
    auto spans = parsed->render(context(), options);
    status = spans.status();
    if (spans.ok())
      for (size_t i = 0; i < spans->size(); ++i) {
        const TextSpan &span = (*spans)[i];
        bool isBad = span.text.empty() ||
                     findInvalidUtf8(span.text) != std::string_view::npos ||
                     (i > 0 && span.isUserText == (*spans)[i - 1].isUserText);
        if (isBad)
          __builtin_trap();
      }
  }
  if (!status.ok() && (status.line("fuzz").size() > 512 ||
                       status.exitCode() != ExitCode::Refused))
    __builtin_trap();
  return 0;
}
