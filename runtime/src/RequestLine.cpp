//===- RequestLine.cpp - A request as a line of JSON ----------------------===//

#include "chorus_rt/RequestLine.h"

#include "JsonCursor.h"
#include "chorus_rt/StopStrings.h"
#include "chorus_rt/Utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <tuple>

namespace chorus::rt {

/// Arrays and objects in a line; messages nest to 64 (see parseMessages).
static constexpr int maxDepth = 66;

namespace {

struct RealField {
  const char *name;
  double SamplingParameters::*member;
};
constexpr RealField realFields[] = {
    {"temperature", &SamplingParameters::temperature},
    {"top_p", &SamplingParameters::topP},
    {"min_p", &SamplingParameters::minP},
    {"repetition_penalty", &SamplingParameters::repetitionPenalty},
    {"presence_penalty", &SamplingParameters::presencePenalty},
    {"frequency_penalty", &SamplingParameters::frequencyPenalty},
};

constexpr const char *fieldNames[] = {"id",
                                      "prompt",
                                      "messages",
                                      "prompt_ids",
                                      "answer",
                                      "n",
                                      "seed",
                                      "max_tokens",
                                      "temperature",
                                      "top_p",
                                      "top_k",
                                      "min_p",
                                      "repetition_penalty",
                                      "presence_penalty",
                                      "frequency_penalty",
                                      "stop",
                                      "logit_bias",
                                      "allowed",
                                      "min_tokens"};

/// Walks one line. Functions return false when the JSON itself is broken; what
/// else is wrong is kept in `problem`, the first one only, and the walk goes
/// on, so that the id is found wherever it stands.
class Parser {
public:
  Parser(const JsonlLine &line, const std::string &file, int64_t vocabSize,
         RequestLine &parsed)
      : line(line), file(file), vocabSize(vocabSize), parsed(parsed),
        cursor(line.text) {}

  Status run();

private:
  bool readObject();
  bool readField(size_t field);
  bool readId();
  bool readReal(const RealField &field);
  template <typename Integer>
  bool readInteger(const char *name, Integer low, Integer high, Integer &value);
  /// The id that `text` names; what is no id of the model is noted as found.
  int32_t tokenId(const char *name, std::string_view text);
  bool readIds(const char *name, std::vector<int32_t> &ids);
  bool readStop();
  bool readLogitBias();
  bool readText(const char *name, std::optional<std::string> &text);
  bool readMessages();

  /// Skips any value; finds keys that stand twice in an object.
  bool skipValue(int depth = 1);
  bool skipObject(int depth);
  bool skipArray(int depth);
  /// Reads over a value of the wrong type, or over one in an array or object.
  bool wrongType(const char *name, const char *needed);
  bool wrongElement(const char *name, const char *needed);

  bool nextIs(char c) {
    cursor.skipBlanks();
    return cursor.peek() == c;
  }
  bool nextIsNumber() {
    cursor.skipBlanks();
    char c = cursor.peek();
    return c == '-' || (c >= '0' && c <= '9');
  }
  /// Takes a word of letters, as far as it is one of `words`.
  std::optional<std::string_view>
  takeWord(std::initializer_list<std::string_view> words);
  const char *kindOfNext();

  void found(const char *code, const std::string &field,
             const std::string &message) {
    if (problem.ok())
      problem = error(code, field, message);
  }
  Status error(const char *code, const std::string &field,
               const std::string &message) const {
    std::string place = file + ":" + std::to_string(line.number);
    return Status::error(ExitCode::SomeRecordsFailed, code,
                         field.empty() ? place : place + ": " + field, message);
  }
  void checkRanges();

  const JsonlLine &line;
  const std::string &file;
  int64_t vocabSize;
  RequestLine &parsed;
  JsonCursor cursor;
  Status problem;
};

} // namespace

Status Parser::run() {
  if (line.tooLong)
    return error("J02", "",
                 "longer than " + std::to_string(JsonlInput::maxLineBytes) +
                     " bytes");
  if (size_t at = findInvalidUtf8(line.text); at != std::string::npos)
    return error("T09", "column " + std::to_string(at + 1), "invalid UTF-8");
  if (!readObject()) {
    bool surrogate = cursor.error().find("surrogate") != std::string::npos;
    return error(surrogate ? "T09" : "J01",
                 "column " + std::to_string(cursor.errorOffset() + 1),
                 cursor.error());
  }
  int prompts = parsed.prompt.has_value() + parsed.messages.has_value() +
                parsed.promptIds.has_value();
  if (prompts != 1)
    found("J04", "",
          prompts == 0 ? "has no prompt, messages or prompt_ids"
                       : "has more than one of prompt, messages, prompt_ids");
  if (problem.ok())
    checkRanges();
  return problem;
}

/// The ranges of SamplingParameters, by the names that a line has.
void Parser::checkRanges() {
  Status status = parsed.request.sampling.validate(vocabSize);
  if (status.ok())
    return;
  const std::string &message = status.message();
  size_t blank = message.find(' ');
  std::string field = message.substr(0, blank);
  std::replace(field.begin(), field.end(), '-', '_');
  bool namesToken = message.compare(blank + 1, 6, "names ") == 0;
  found(namesToken ? "J07" : "J05", field, message.substr(blank + 1));
}

bool Parser::readObject() {
  uint32_t seen = 0;
  if (!cursor.expect('{'))
    return false;
  if (!cursor.take('}')) {
    do {
      std::string key;
      if (!cursor.readString(key) || !cursor.expect(':'))
        return false;
      auto at = std::find(std::begin(fieldNames), std::end(fieldNames), key);
      if (at == std::end(fieldNames)) {
        found("J04", escapeForMessage(key), "unknown field");
        if (!skipValue())
          return false;
        continue;
      }
      size_t field = static_cast<size_t>(at - std::begin(fieldNames));
      if (seen >> field & 1) {
        found("J04", key, "stands twice");
        if (!skipValue())
          return false;
        continue;
      }
      seen |= uint32_t(1) << field;
      if (!readField(field))
        return false;
    } while (cursor.take(','));
    if (!cursor.expect('}'))
      return false;
  }
  cursor.skipBlanks();
  return cursor.atEnd() ||
         cursor.fail(cursor.offset(), "more text after the object");
}

bool Parser::readField(size_t field) {
  std::string_view name = fieldNames[field];
  Request &request = parsed.request;
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  for (const RealField &real : realFields)
    if (name == real.name)
      return readReal(real);
  if (name == "id")
    return readId();
  if (name == "prompt")
    return readText("prompt", parsed.prompt);
  if (name == "messages")
    return readMessages();
  if (name == "prompt_ids")
    return readIds("prompt_ids", parsed.promptIds.emplace());
  if (name == "answer")
    return readText("answer", parsed.answer);
  if (name == "n")
    return readInteger<int64_t>("n", 1, Request::maxCandidates,
                                request.candidates);
  if (name == "seed")
    return readInteger<uint64_t>(
        "seed", 0, std::numeric_limits<uint64_t>::max(), request.sampling.seed);
  if (name == "max_tokens")
    return readInteger<int64_t>("max_tokens", 1, most, request.maxTokens);
  if (name == "top_k")
    return readInteger<int64_t>("top_k", 0, most, request.sampling.topK);
  if (name == "min_tokens")
    return readInteger<int64_t>("min_tokens", 0, most,
                                request.sampling.minTokens);
  if (name == "stop")
    return readStop();
  if (name == "logit_bias")
    return readLogitBias();
  std::vector<int32_t> &allowed = request.sampling.allowedTokens;
  allowed.clear();
  if (!readIds("allowed", allowed))
    return false;
  if (allowed.empty()) // To the sampler, no list: all are allowed.
    found("N02", "allowed", "is empty, so that every token would be masked");
  std::sort(allowed.begin(), allowed.end());
  return true;
}

const char *Parser::kindOfNext() {
  cursor.skipBlanks();
  switch (cursor.peek()) {
  case '"':
    return "a string";
  case '{':
    return "an object";
  case '[':
    return "an array";
  case 't':
  case 'f':
    return "a truth value";
  case 'n':
    return "null";
  default:
    return "a number";
  }
}

bool Parser::wrongType(const char *name, const char *needed) {
  found("J04", name,
        std::string("is ") + kindOfNext() + ", needed is " + needed);
  return skipValue();
}

bool Parser::wrongElement(const char *name, const char *needed) {
  found("J04", name,
        std::string("holds ") + kindOfNext() + ", needed are " + needed);
  return skipValue();
}

bool Parser::readText(const char *name, std::optional<std::string> &text) {
  if (!nextIs('"'))
    return wrongType(name, "a string");
  return cursor.readString(text.emplace());
}

bool Parser::readId() {
  std::optional<std::string> id;
  if (!readText("id", id))
    return false;
  if (!id)
    return true;
  if (id->empty() || id->size() > maxRequestIdBytes) {
    found("J03", "id",
          "has " + std::to_string(id->size()) + " bytes, allowed are 1 to " +
              std::to_string(maxRequestIdBytes));
    return true;
  }
  parsed.request.id = std::move(*id);
  parsed.hasId = true;
  return true;
}

std::optional<std::string_view>
Parser::takeWord(std::initializer_list<std::string_view> words) {
  cursor.skipBlanks();
  for (std::string_view word : words)
    if (std::string_view(line.text).substr(cursor.offset(), word.size()) ==
        word) {
      for (char c : word)
        cursor.take(c);
      return word;
    }
  return std::nullopt;
}

/// The value of a number of JSON; what the type cannot hold is 0 or infinite.
template <typename Real> static Real toReal(std::string_view digits) {
  Real value = 0;
  auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc::result_out_of_range)
    return value;
  bool tiny = digits.find("e-") != std::string_view::npos ||
              digits.find("E-") != std::string_view::npos;
  value = tiny ? 0 : std::numeric_limits<Real>::infinity();
  return digits.front() == '-' ? -value : value;
}

bool Parser::readReal(const RealField &field) {
  double &value = parsed.request.sampling.*field.member;
  // No JSON, but what writers of numbers make of these: out of every range.
  if (auto word = takeWord({"NaN", "Infinity", "-Infinity"})) {
    value = *word == "NaN" ? std::numeric_limits<double>::quiet_NaN()
                           : std::numeric_limits<double>::infinity();
    if (word->front() == '-')
      value = -value;
    return true;
  }
  if (!nextIsNumber())
    return wrongType(field.name, "a number");
  std::string_view digits;
  if (!cursor.readNumber(digits))
    return false;
  value = toReal<double>(digits);
  return true;
}

template <typename Integer>
bool Parser::readInteger(const char *name, Integer low, Integer high,
                         Integer &value) {
  if (!nextIsNumber())
    return wrongType(name, "a whole number");
  std::string_view digits;
  if (!cursor.readNumber(digits))
    return false;
  if (digits.find_first_of(".eE") != std::string_view::npos) {
    found("J04", name,
          "is " + escapeForMessage(digits, 32) + ", needed is a whole number");
    return true;
  }
  Integer read = 0;
  auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), read);
  // "-0" and what does not fit are told apart by where the reading ended.
  if (error != std::errc() || end != digits.data() + digits.size() ||
      read < low || read > high) {
    found("J05", name,
          "is " + escapeForMessage(digits, 32) + ", allowed is " +
              std::to_string(low) + " to " + std::to_string(high));
    return true;
  }
  value = read;
  return true;
}

int32_t Parser::tokenId(const char *name, std::string_view text) {
  int32_t id = -1;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0 ||
      id >= vocabSize)
    found("J07", name,
          "names token '" + escapeForMessage(text, 32) + "', allowed is 0 to " +
              std::to_string(vocabSize - 1));
  return id;
}

bool Parser::readIds(const char *name, std::vector<int32_t> &ids) {
  if (!nextIs('['))
    return wrongType(name, "an array of token ids");
  cursor.take('[');
  if (cursor.take(']'))
    return true;
  do {
    if (!nextIsNumber()) {
      if (!wrongElement(name, "token ids"))
        return false;
      continue;
    }
    std::string_view digits;
    if (!cursor.readNumber(digits))
      return false;
    ids.push_back(tokenId(name, digits));
  } while (cursor.take(','));
  return cursor.expect(']');
}

bool Parser::readStop() {
  std::vector<std::string> &stop = parsed.request.stop;
  stop.clear();
  if (nextIs('"')) {
    if (!cursor.readString(stop.emplace_back()))
      return false;
  } else if (nextIs('[')) {
    cursor.take('[');
    if (!cursor.take(']')) {
      do {
        if (!nextIs('"')) {
          if (!wrongElement("stop", "strings"))
            return false;
          continue;
        }
        if (!cursor.readString(stop.emplace_back()))
          return false;
      } while (cursor.take(','));
      if (!cursor.expect(']'))
        return false;
    }
  } else {
    return wrongType("stop", "a string or an array of strings");
  }
  if (Status status = StopStrings::create(stop).status(); !status.ok())
    found("J07", "stop", status.message());
  return true;
}

bool Parser::readLogitBias() {
  auto &bias = parsed.request.sampling.logitBias;
  bias.clear();
  if (!nextIs('{'))
    return wrongType("logit_bias", "an object of token ids and numbers");
  cursor.take('{');
  if (cursor.take('}'))
    return true;
  do {
    std::string key;
    if (!cursor.readString(key) || !cursor.expect(':'))
      return false;
    int32_t id = tokenId("logit_bias", key);
    if (!nextIsNumber()) {
      if (!wrongElement("logit_bias", "numbers"))
        return false;
      continue;
    }
    std::string_view digits;
    if (!cursor.readNumber(digits))
      return false;
    bias.emplace_back(id, toReal<float>(digits));
  } while (cursor.take(','));
  std::sort(bias.begin(), bias.end());
  return cursor.expect('}');
}

bool Parser::readMessages() {
  if (!nextIs('['))
    return wrongType("messages", "an array of messages");
  size_t begin = cursor.offset();
  if (!skipValue())
    return false;
  parsed.messages = line.text.substr(begin, cursor.offset() - begin);
  return true;
}

bool Parser::skipValue(int depth) {
  cursor.skipBlanks();
  char c = cursor.peek();
  if (c == '"') {
    std::string ignored;
    return cursor.readString(ignored);
  }
  if (c == '{' || c == '[') {
    if (depth == maxDepth)
      return cursor.fail(cursor.offset(),
                         "nested deeper than " + std::to_string(maxDepth));
    return c == '{' ? skipObject(depth + 1) : skipArray(depth + 1);
  }
  if (takeWord({"true", "false", "null"}))
    return true;
  std::string_view digits;
  return cursor.readNumber(digits);
}

bool Parser::skipObject(int depth) {
  cursor.take('{');
  if (cursor.take('}'))
    return true;
  std::vector<std::string> keys;
  do {
    if (!cursor.readString(keys.emplace_back()) || !cursor.expect(':') ||
        !skipValue(depth))
      return false;
  } while (cursor.take(','));
  std::sort(keys.begin(), keys.end());
  auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end())
    found("J04", escapeForMessage(*twice), "stands twice in an object");
  return cursor.expect('}');
}

bool Parser::skipArray(int depth) {
  cursor.take('[');
  if (cursor.take(']'))
    return true;
  do {
    if (!skipValue(depth))
      return false;
  } while (cursor.take(','));
  return cursor.expect(']');
}

Status parseRequestLine(const JsonlLine &line, const std::string &place,
                        const Request &defaults, int64_t vocabSize,
                        RequestLine &parsed) try {
  parsed = RequestLine();
  parsed.number = line.number;
  parsed.request = defaults;
  parsed.request.id = std::to_string(line.number);
  return Parser(line, place, vocabSize, parsed).run();
} catch (const std::bad_alloc &) {
  return limitError("N10", place, "out of memory");
}

//===----------------------------------------------------------------------===//
// Ids that stand twice
//===----------------------------------------------------------------------===//

namespace {

/// Stands for an id: half of its SHA-256.
struct IdHash {
  uint64_t high, low;
  int64_t line;
  uint64_t offset;

  bool operator<(const IdHash &other) const {
    return std::tie(high, low, line) <
           std::tie(other.high, other.low, other.line);
  }
  bool sameHash(const IdHash &other) const {
    return high == other.high && low == other.low;
  }
};

} // namespace

Status scanRequestLines(
    JsonlInput &input, const OutputPlace &output, const Request &defaults,
    int64_t vocabSize,
    const std::function<Status(RequestLine &, const Status &)> &onLine) try {
  SpillSorter<IdHash> ids(output);
  JsonlLine line;
  RequestLine parsed;
  input.rewind();
  for (;;) {
    StatusOr<bool> more = input.next(line);
    CHORUS_RETURN_IF_ERROR(more.status());
    if (!*more)
      break;
    Status status =
        parseRequestLine(line, input.shown(), defaults, vocabSize, parsed);
    // Two broken lines do not share an id, nor do they take one away.
    if (parsed.hasId || status.ok()) {
      const std::string &id = parsed.request.id;
      StatusOr<Sha256Digest> digest = sha256(id.data(), id.size());
      CHORUS_RETURN_IF_ERROR(digest.status());
      IdHash hash{0, 0, line.number, line.offset};
      std::memcpy(&hash.high, digest->data(), 8);
      std::memcpy(&hash.low, digest->data() + 8, 8);
      CHORUS_RETURN_IF_ERROR(ids.add(hash));
    }
    CHORUS_RETURN_IF_ERROR(onLine(parsed, status));
  }

  auto idAt = [&](const IdHash &hash, std::string &id) {
    CHORUS_RETURN_IF_ERROR(input.readAt(hash.offset, line));
    line.number = hash.line;
    // What else is wrong with the line does not matter here.
    [[maybe_unused]] Status ignored =
        parseRequestLine(line, input.shown(), defaults, vocabSize, parsed);
    id = std::move(parsed.request.id);
    return Status();
  };
  StatusOr<SpillSorter<IdHash>::Reader> reader = ids.read();
  CHORUS_RETURN_IF_ERROR(reader.status());
  IdHash before{}, hash{};
  // The pair whose second line comes first.
  Status twice;
  int64_t secondLine = std::numeric_limits<int64_t>::max();
  for (bool first = true;; first = false) {
    StatusOr<bool> more = reader->next(hash);
    CHORUS_RETURN_IF_ERROR(more.status());
    if (!*more)
      return twice;
    if (!first && hash.sameHash(before) && hash.line < secondLine) {
      std::string one, other;
      CHORUS_RETURN_IF_ERROR(idAt(before, one));
      CHORUS_RETURN_IF_ERROR(idAt(hash, other));
      if (one == other) {
        secondLine = hash.line;
        twice = refused(
            "J03", input.shown() + ":" + std::to_string(hash.line) + ": id",
            "'" + escapeForMessage(other) + "' is also the id of line " +
                std::to_string(before.line));
      }
    }
    before = hash;
  }
} catch (const std::bad_alloc &) {
  return limitError("N10", input.shown(), "out of memory");
}

} // namespace chorus::rt
