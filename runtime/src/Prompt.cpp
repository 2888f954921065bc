//===- Prompt.cpp - From what a user gives to token ids -------------------===//

#include "chorus_rt/Prompt.h"

#include "JsonCursor.h"
#include "chorus_rt/ChatTemplate.h"
#include "chorus_rt/Utf8.h"

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>

namespace chorus::rt {

using Json = nlohmann::ordered_json;

/// Messages nest: array, object, content parts, and what tools put there.
static constexpr size_t maxMessageDepth = 64;

static Status promptOutOfMemory() {
  return limitError("N10", "prompt", "out of memory");
}

std::string Prompt::text() const {
  std::string all;
  for (const TextSpan &span : spans)
    all += span.text;
  return all;
}

StatusOr<Prompt> promptFromText(const Tokenizer &tokenizer, std::string text,
                                bool parseSpecial) try {
  Prompt prompt;
  CHORUS_RETURN_IF_ERROR(tokenizer.encode(text, parseSpecial, prompt.ids));
  if (tokenizer.addBos())
    prompt.ids.insert(prompt.ids.begin(), tokenizer.bosId());
  if (!text.empty())
    prompt.spans.push_back({std::move(text), !parseSpecial});
  return prompt;
} catch (const std::bad_alloc &) {
  return promptOutOfMemory();
}

static Status checkMessages(const Json &messages, const std::string &place) {
  if (!messages.is_array() || messages.empty())
    return refused("T01", place, "needed is an array of messages");
  for (size_t i = 0; i < messages.size(); ++i) {
    std::string at = place + ": [" + std::to_string(i) + "]";
    const Json &message = messages[i];
    if (!message.is_object())
      return refused("T01", at, "a message is an object");
    auto role = message.find("role");
    if (role == message.end() || !role->is_string())
      return refused("T01", at + ".role", "needed is a string");
    auto content = message.find("content");
    bool calls = message.contains("tool_calls");
    if (content == message.end()
            ? !calls
            : !content->is_string() && !content->is_array() &&
                  !(content->is_null() && calls))
      return refused("T01", at + ".content",
                     "needed is a string or an array of parts");
  }
  return Status();
}

static Status checkTools(const Json &tools, const std::string &place) {
  if (!tools.is_array() || tools.empty())
    return refused("T01", place, "needed is an array of tools");
  for (size_t i = 0; i < tools.size(); ++i)
    if (!tools[i].is_object())
      return refused("T01", place + ": [" + std::to_string(i) + "]",
                     "a tool is an object");
  return Status();
}

/// Any JSON text that is part of a prompt.
static StatusOr<Json> parseJson(std::string_view json,
                                const std::string &place) {
  if (json.size() > Tokenizer::maxTextBytes)
    return limitError("T08", place,
                      std::to_string(json.size()) + " bytes, allowed are " +
                          std::to_string(Tokenizer::maxTextBytes));
  if (size_t at = findInvalidUtf8(json); at != std::string_view::npos)
    return refused("T09", place + " @" + std::to_string(at), "invalid UTF-8");
  if (size_t at = JsonCursor::findDeeperThan(json, maxMessageDepth);
      at != std::string_view::npos)
    return refused("T01", place + " @" + std::to_string(at),
                   "nested deeper than " + std::to_string(maxMessageDepth));
  try {
    return Json::parse(json);
  } catch (const Json::parse_error &error) {
    // The text is UTF-8, so that a surrogate can only be an escape.
    bool surrogate = std::string_view(error.what()).find("surrogate") !=
                     std::string_view::npos;
    return refused(surrogate ? "T09" : "T01",
                   place + " @" + std::to_string(error.byte),
                   surrogate ? "lone surrogate" : "not JSON");
  } catch (const Json::out_of_range &) { // 1e999 is JSON.
    return refused("T01", place, "a number is out of range");
  }
}

static StatusOr<Json>
parseChecked(std::string_view json, const std::string &place,
             Status (*check)(const Json &, const std::string &)) try {
  StatusOr<Json> parsed = parseJson(json, place);
  CHORUS_RETURN_IF_ERROR(parsed.status());
  CHORUS_RETURN_IF_ERROR(check(*parsed, place));
  return parsed;
} catch (const std::bad_alloc &) {
  return promptOutOfMemory();
}

StatusOr<Json> parseMessages(std::string_view json, const std::string &place) {
  return parseChecked(json, place, checkMessages);
}

StatusOr<Json> parseTools(std::string_view json, const std::string &place) {
  return parseChecked(json, place, checkTools);
}

/// Renders, without turning text into tokens yet.
static StatusOr<Prompt> render(const Tokenizer &tokenizer,
                               const ChatTemplate &source, Json variables) {
  auto addToken = [&](const char *name, int32_t id) {
    StatusOr<std::string_view> text = tokenizer.tokenText(id);
    if (id >= 0 && text.ok())
      variables[name] = std::string(*text);
  };
  addToken("bos_token", tokenizer.bosId());
  addToken("eos_token", tokenizer.eosId());
  addToken("unk_token", tokenizer.unknownId());
  addToken("pad_token", tokenizer.paddingId());
  StatusOr<std::vector<TextSpan>> spans = source.render(variables);
  CHORUS_RETURN_IF_ERROR(spans.status());
  Prompt prompt;
  prompt.spans = std::move(*spans);
  return prompt;
}

StatusOr<Prompt> promptFromMessages(const Tokenizer &tokenizer,
                                    std::string templateSource,
                                    const Json &messages, const Json &tools,
                                    bool parseSpecial) try {
  StatusOr<ChatTemplate> chat = ChatTemplate::parse(std::move(templateSource));
  CHORUS_RETURN_IF_ERROR(chat.status());
  Json variables;
  variables["messages"] = messages;
  if (!tools.is_null())
    variables["tools"] = tools;
  variables["add_generation_prompt"] = true;
  StatusOr<Prompt> prompt = render(tokenizer, *chat, std::move(variables));
  CHORUS_RETURN_IF_ERROR(prompt.status());
  if (parseSpecial)
    for (TextSpan &span : prompt->spans)
      span.isUserText = false;
  CHORUS_RETURN_IF_ERROR(tokenizer.encode(prompt->spans, prompt->ids));
  return prompt;
} catch (const std::bad_alloc &) {
  return promptOutOfMemory();
}

StatusOr<Prompt> promptFromTemplate(const Tokenizer &tokenizer,
                                    const ChatTemplate &source,
                                    Json variables) try {
  StatusOr<Prompt> prompt = render(tokenizer, source, std::move(variables));
  CHORUS_RETURN_IF_ERROR(prompt.status());
  CHORUS_RETURN_IF_ERROR(tokenizer.encode(prompt->spans, prompt->ids));
  return prompt;
} catch (const std::bad_alloc &) {
  return promptOutOfMemory();
}

std::string lastUserText(const Json &messages) {
  for (auto message = messages.rbegin(); message != messages.rend();
       ++message) {
    if (message->value("role", "") != "user" || !message->contains("content"))
      continue;
    const Json &content = (*message)["content"];
    if (content.is_string())
      return content.get<std::string>();
    std::string text;
    for (const Json &part : content)
      if (part.is_object() && part.contains("text") && part["text"].is_string())
        text += part["text"].get<std::string>();
    return text;
  }
  return "";
}

} // namespace chorus::rt
