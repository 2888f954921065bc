//===- Replay.cpp - From a record back to its candidate -------------------===//

#include "chorus_rt/Replay.h"

#include "chorus_rt/RequestLine.h"

#include <nlohmann/json.hpp>

#include <cstring>
#include <new>

namespace chorus::rt {

using Json = nlohmann::ordered_json;

StatusOr<RecordedCandidate> parseRecord(std::string_view json,
                                        const std::string &file, int64_t number,
                                        int64_t vocabSize) try {
  std::string place = file + ":" + std::to_string(number);
  Json record;
  try {
    record = Json::parse(json);
  } catch (const Json::parse_error &error) {
    return refused("J01", place + " @" + std::to_string(error.byte),
                   "not JSON");
  } catch (const Json::out_of_range &) { // 1e999 is JSON.
    return refused("J05", place, "a number is out of range");
  }
  RecordedCandidate recorded;
  Request &request = recorded.request;
  // A record's parameters are a request line's fields, save two.
  Json line;
  try {
    line = record.at("parameters");
    request.ignoreEos = line.at("ignore_eos").get<bool>();
    line.erase("ignore_eos");
    request.calculator = line.erase("tool") > 0;
    line["id"] = record.at("request");
    line["seed"] = record.at("seed");
    line["prompt_ids"] = record.at("prompt_ids");
    request.firstCandidate = record.at("candidate").get<int64_t>();
    recorded.tokenIds = record.at("token_ids").get<std::vector<int32_t>>();
    recorded.logprobs = record.at("logprobs").get<std::vector<float>>();
    recorded.artifactSha256 = record.at("artifact_sha256").get<std::string>();
    recorded.numericProfile = record.at("profile").get<std::string>();
  } catch (const Json::exception &error) {
    // "[json.exception.out_of_range.403] key 'seed' not found"
    std::string text = error.what();
    size_t end = text.find("] ");
    return refused(
        "J04", place,
        "no record of a candidate: " +
            escapeForMessage(
                end == std::string::npos ? text : text.substr(end + 2), 200));
  }
  JsonlLine asLine;
  asLine.number = number;
  asLine.text = line.dump();
  RequestLine parsed;
  Status status = parseRequestLine(asLine, file, request, vocabSize, parsed);
  if (!status.ok())
    return refused(status.code(), status.place(), status.message());
  request = std::move(parsed.request);
  request.prompt = std::move(parsed.promptIds).value_or(std::vector<int32_t>());
  request.candidates = 1;
  return recorded;
} catch (const std::bad_alloc &) {
  return limitError("N10", file, "out of memory");
}

static uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

Status checkReplayable(const RecordedCandidate &recorded,
                       const Program &program) {
  const Artifact &artifact = program.artifact();
  auto compare = [](const char *what, const std::string &of,
                    std::string_view here) {
    return of == here ? Status()
                      : usageError(std::string("replay: the record is of ") +
                                   what + " " + escapeForMessage(of, 100) +
                                   ", this is " + escapeForMessage(here, 100));
  };
  CHORUS_RETURN_IF_ERROR(compare("numeric profile", recorded.numericProfile,
                                 artifact.metadata().numericProfile));
  return compare("artifact", recorded.artifactSha256,
                 artifact.artifactSha256());
}

Status compareReplay(const RecordedCandidate &recorded,
                     const Candidate &replayed) {
  auto differs = [&](const std::string &what) {
    return Status::error(ExitCode::SomeRecordsFailed, "replay",
                         "candidate " + std::to_string(replayed.index), what);
  };
  size_t count = std::min(recorded.tokenIds.size(), replayed.tokenIds.size());
  for (size_t i = 0; i < count; ++i) {
    if (recorded.tokenIds[i] != replayed.tokenIds[i])
      return differs("token " + std::to_string(i) + " is " +
                     std::to_string(replayed.tokenIds[i]) +
                     ", the record has " +
                     std::to_string(recorded.tokenIds[i]));
    if (i >= recorded.logprobs.size() ||
        bitsOf(recorded.logprobs[i]) != bitsOf(replayed.logprobs[i]))
      return differs("the log-probability of token " + std::to_string(i) +
                     " has other bits than the record's");
  }
  if (count < recorded.tokenIds.size())
    return differs("ended after " + std::to_string(count) +
                   " tokens, the record has " +
                   std::to_string(recorded.tokenIds.size()));
  return Status();
}

} // namespace chorus::rt
