//===- FuzzRequestLine.cpp - Lines of requests ----------------------------===//
//
// What is accepted is JSON by another parser too, and in every range.
//
//===----------------------------------------------------------------------===//

#include "chorus_rt/RequestLine.h"

#include <nlohmann/json.hpp>

#include <cstdlib>

using namespace chorus::rt;

static void require(bool condition) {
  if (!condition)
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  constexpr int64_t vocab = 300;
  JsonlLine line;
  line.number = 7;
  line.text.assign(reinterpret_cast<const char *>(data), size);
  RequestLine parsed;
  Status status = parseRequestLine(line, "in.jsonl", Request(), vocab, parsed);
  const Request &request = parsed.request;
  require(!request.id.empty() && request.id.size() <= maxRequestIdBytes);
  require(parsed.hasId || request.id == "7");
  if (!status.ok()) {
    require(status.exitCode() == ExitCode::SomeRecordsFailed);
    require(status.line("chorus-run").size() <= 512);
    return 0;
  }
  // Numbers that no double holds are JSON too, but the parser has none of them.
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(line.text);
  } catch (const nlohmann::json::out_of_range &) {
    return 0;
  }
  require(object.is_object());
  require(parsed.prompt.has_value() + parsed.messages.has_value() +
              parsed.promptIds.has_value() ==
          1);
  if (parsed.prompt)
    require(*parsed.prompt == object["prompt"].get<std::string>());
  if (parsed.messages)
    require(nlohmann::json::parse(*parsed.messages) == object["messages"]);
  if (object.contains("seed"))
    require(request.sampling.seed == object["seed"].get<uint64_t>());
  require(request.candidates >= 1 && request.maxTokens >= 1);
  require(request.sampling.validate(vocab).ok());
  return 0;
}
