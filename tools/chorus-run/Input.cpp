//===- Input.cpp - What chorus-run reads ----------------------------------===//

#include "Input.h"

#include "Output.h"
#include "chorus_rt/Record.h"
#include "chorus_rt/Utf8.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

using namespace chorus;
using namespace chorus::run;

/// Lines of a JSONL file are at most this long.
static constexpr size_t maxLineBytes = size_t(16) << 20;

namespace {

/// An open input file, or stdin.
class InputFile {
public:
  explicit InputFile(const std::string &path)
      : file(path == "-" ? stdin : std::fopen(path.c_str(), "rb")),
        name(rt::escapeForMessage(path == "-" ? "stdin" : path)) {}
  ~InputFile() {
    if (file && file != stdin)
      std::fclose(file);
  }
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;

  rt::Status status() const {
    if (!file || std::ferror(file))
      return rt::ioError("read", name, std::strerror(errno));
    return rt::Status();
  }

  FILE *file;
  std::string name;
};

} // namespace

static rt::Status tooLong(const std::string &place, size_t maxBytes) {
  return rt::limitError("T08", place,
                        "longer than " + std::to_string(maxBytes) + " bytes");
}

rt::StatusOr<std::string> run::readText(const std::string &path,
                                        size_t maxBytes) {
  InputFile input(path);
  CHORUS_RETURN_IF_ERROR(input.status());
  std::string text;
  char buffer[65536];
  while (size_t count = std::fread(buffer, 1, sizeof buffer, input.file)) {
    text.append(buffer, count);
    if (text.size() > maxBytes)
      return tooLong(input.name, maxBytes);
  }
  CHORUS_RETURN_IF_ERROR(input.status());
  return text;
}

rt::StatusOr<std::vector<int32_t>> run::parseIds(std::string_view text) {
  std::vector<int32_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (true) {
    while (at != end && *at == ' ')
      ++at;
    int32_t id;
    auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0)
      return rt::usageError("--prompt-ids: item " + std::to_string(ids.size()) +
                            " is no token id; needed are numbers like 1,2,3");
    ids.push_back(id);
    at = next;
    while (at != end && *at == ' ')
      ++at;
    if (at == end)
      return ids;
    if (*at++ != ',')
      return rt::usageError("--prompt-ids: needed is a comma after item " +
                            std::to_string(ids.size() - 1));
  }
}

rt::StatusOr<std::string> run::chatTemplate(const Options &options,
                                            const rt::ModelInfo &model) {
  if (options.templateFile)
    return readText(*options.templateFile, size_t(1) << 20);
  if (model.chatTemplate.empty())
    return rt::unsupported("chat template",
                           "the model has none; --template F.jinja gives one");
  return std::string(model.chatTemplate);
}

rt::StatusOr<nlohmann::ordered_json> run::readTools(const Options &options) {
  if (!options.tools)
    return nlohmann::ordered_json();
  rt::StatusOr<std::string> json =
      readText(*options.tools, rt::Tokenizer::maxTextBytes);
  CHORUS_RETURN_IF_ERROR(json.status());
  return rt::parseTools(*json, rt::escapeForMessage(*options.tools));
}

/// Messages of --messages, or the text as one.
static rt::StatusOr<nlohmann::ordered_json>
collectMessages(const Options &options, const std::string &text) {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (options.system)
    messages.push_back({{"role", "system"}, {"content", *options.system}});
  if (!options.messages) {
    messages.push_back({{"role", "user"}, {"content", text}});
    return messages;
  }
  rt::StatusOr<std::string> json =
      readText(*options.messages, rt::Tokenizer::maxTextBytes);
  CHORUS_RETURN_IF_ERROR(json.status());
  rt::StatusOr<nlohmann::ordered_json> given =
      rt::parseMessages(*json, rt::escapeForMessage(*options.messages));
  CHORUS_RETURN_IF_ERROR(given.status());
  for (const nlohmann::ordered_json &message : *given)
    messages.push_back(message);
  return messages;
}

rt::StatusOr<rt::Prompt> run::makePrompt(const Options &options,
                                         const rt::ModelInfo &model,
                                         const rt::Tokenizer *tokenizer,
                                         nlohmann::ordered_json &messages) {
  messages = nlohmann::ordered_json::array();
  if (options.promptIds) {
    rt::StatusOr<std::vector<int32_t>> ids = parseIds(*options.promptIds);
    CHORUS_RETURN_IF_ERROR(ids.status());
    rt::Prompt prompt;
    prompt.ids = std::move(*ids);
    return prompt;
  }
  if (!tokenizer)
    return rt::unsupported("tokenizer",
                           "the model has none; --prompt-ids takes token ids");
  std::string text = options.prompt.value_or("");
  if (options.promptFile) {
    rt::StatusOr<std::string> read =
        readText(*options.promptFile, rt::Tokenizer::maxTextBytes);
    CHORUS_RETURN_IF_ERROR(read.status());
    text = std::move(*read);
  }
  // A chat's render would find it too, but not say where in the prompt.
  if (size_t at = rt::findInvalidUtf8(text); at != std::string::npos)
    return rt::refused("T09", "prompt @" + std::to_string(at), "invalid UTF-8");
  rt::StatusOr<nlohmann::ordered_json> collected =
      collectMessages(options, text);
  CHORUS_RETURN_IF_ERROR(collected.status());
  messages = std::move(*collected);
  if (!options.chat && !options.messages)
    return rt::promptFromText(*tokenizer, std::move(text),
                              options.parseSpecial);
  rt::StatusOr<std::string> source = chatTemplate(options, model);
  CHORUS_RETURN_IF_ERROR(source.status());
  rt::StatusOr<nlohmann::ordered_json> tools = readTools(options);
  CHORUS_RETURN_IF_ERROR(tools.status());
  return rt::promptFromMessages(*tokenizer, std::move(*source), messages,
                                *tools, options.parseSpecial);
}

/// Reads a line without its newline; false at the end of the file.
static bool readLine(FILE *file, std::string &line) {
  line.clear();
  int c;
  while ((c = getc_unlocked(file)) != EOF && c != '\n') {
    line += static_cast<char>(c);
    if (line.size() > maxLineBytes)
      return true;
  }
  return c != EOF || !line.empty();
}

/// The `text` of a line of --tokenize-file.
static rt::StatusOr<std::string> textOfLine(const std::string &line,
                                            const std::string &place) {
  if (size_t at = rt::findInvalidUtf8(line); at != std::string::npos)
    return rt::refused("T09", place + ":" + std::to_string(at + 1),
                       "invalid UTF-8");
  try {
    nlohmann::json object = nlohmann::json::parse(line);
    auto text = object.find("text");
    if (object.is_object() && text != object.end() && text->is_string())
      return text->get<std::string>();
  } catch (const nlohmann::json::parse_error &error) {
    bool surrogate = std::strstr(error.what(), "surrogate") != nullptr;
    return rt::refused(surrogate ? "T09" : "J01",
                       place + ":" + std::to_string(error.byte),
                       surrogate ? "lone surrogate" : "not JSON");
  } catch (const nlohmann::json::out_of_range &) { // 1e999 is JSON.
    return rt::refused("J05", place, "a number is out of range");
  }
  return rt::refused("J04", place, "needed is an object with a string 'text'");
}

rt::Status run::tokenizeFile(const Options &options,
                             const rt::Tokenizer &tokenizer) {
  InputFile input(options.tokenizeFile.value_or(""));
  CHORUS_RETURN_IF_ERROR(input.status());
  std::string line;
  std::vector<int32_t> ids;
  for (int64_t number = 1; readLine(input.file, line); ++number) {
    std::string place = input.name + ":" + std::to_string(number);
    if (line.size() > maxLineBytes)
      return tooLong(place, maxLineBytes);
    if (!line.empty() && line.back() == '\r')
      line.pop_back();
    if (line.empty())
      continue;
    rt::StatusOr<std::string> text = textOfLine(line, place);
    CHORUS_RETURN_IF_ERROR(text.status());
    CHORUS_RETURN_IF_ERROR(tokenizer.encode(*text, options.parseSpecial, ids));
    std::string out = options.json ? rt::idsLine(ids) : joinIds(ids);
    CHORUS_RETURN_IF_ERROR(print(out + "\n"));
  }
  return input.status();
}
