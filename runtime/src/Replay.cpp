//===- Replay.cpp - From a record back to its candidate -------------------===//

#include "chorus_rt/Replay.h"

#include "JsonCursor.h"
#include "chorus_rt/RequestLine.h"

#include <nlohmann/json.hpp>

#include <cstring>
#include <new>

namespace chorus::rt {

using Json = nlohmann::ordered_json;

/// Records nest to 3, in a request's line to 5.
static constexpr size_t maxDepth = 8;

/// Takes the parameters that only a beam search has.
static BeamOptions takeBeamOptions(Json &parameters) {
  BeamOptions options;
  options.beams = parameters.at("beams").get<int64_t>();
  options.lengthPenalty = parameters.at("length_penalty").get<double>();
  if (parameters.at("length_form").get<std::string>() == "power")
    options.lengthForm = LengthForm::Power;
  for (const char *name : {"beams", "length_penalty", "length_form"})
    parameters.erase(name);
  return options;
}

/// `place`: the line, for messages.
static StatusOr<RecordedCandidate>
parseRecord(const Json &record, const std::string &file, int64_t number,
            const std::string &place, int64_t vocabSize) {
  RecordedCandidate recorded;
  Request &request = recorded.request;
  // A record's parameters are a request line's fields, save some.
  Json line;
  try {
    line = record.at("parameters");
    if (line.contains("beams"))
      recorded.beams = takeBeamOptions(line);
    request.ignoreEos = line.at("ignore_eos").get<bool>();
    line.erase("ignore_eos");
    request.calculator = line.erase("tool") > 0;
    // Here an empty list says that there was none.
    if (line.contains("allowed") && line["allowed"].empty())
      line.erase("allowed");
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
  if (recorded.beams)
    if (Status status = recorded.beams->validate(); !status.ok())
      return refused("J05", place, status.message());
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
}

StatusOr<std::vector<RecordedCandidate>> parseRecords(std::string_view json,
                                                      const std::string &file,
                                                      int64_t number,
                                                      int64_t vocabSize) try {
  std::string place = file + ":" + std::to_string(number);
  if (size_t at = JsonCursor::findDeeperThan(json, maxDepth);
      at != std::string_view::npos)
    return refused("J01", place + " @" + std::to_string(at),
                   "nested deeper than " + std::to_string(maxDepth));
  Json line;
  try {
    line = Json::parse(json);
  } catch (const Json::parse_error &error) {
    return refused("J01", place + " @" + std::to_string(error.byte),
                   "not JSON");
  } catch (const Json::out_of_range &) { // 1e999 is JSON.
    return refused("J05", place, "a number is out of range");
  }
  std::vector<RecordedCandidate> all;
  auto add = [&](const Json &record) {
    StatusOr<RecordedCandidate> one =
        parseRecord(record, file, number, place, vocabSize);
    if (one.ok())
      all.push_back(std::move(*one));
    return one.status();
  };
  bool ofRequest = line.is_object() && line.contains("candidates") &&
                   line["candidates"].is_array();
  if (!ofRequest)
    CHORUS_RETURN_IF_ERROR(add(line));
  else
    for (const Json &record : line["candidates"])
      CHORUS_RETURN_IF_ERROR(add(record));
  return all;
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
