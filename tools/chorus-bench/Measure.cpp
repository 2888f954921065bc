//===- Measure.cpp - One configuration's speed ----------------------------===//

#include "Measure.h"

#include "Profile.h"

#include "chorus_rt/Engine.h"
#include "chorus_rt/Philox.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <set>

using namespace chorus;
using namespace chorus::bench;

ModelWork bench::modelWork(const rt::Program &program) {
  ModelWork work;
  const rt::ModelInfo &model = program.model();
  const rt::Artifact &artifact = program.artifact();
  work.packedBytes = model.facts && model.facts->packedLinearBytes
                         ? model.facts->packedLinearBytes
                         : artifact.segmentSize(model.weightsSegment);
  for (const rt::CompileOptionInfo &option : artifact.metadata().options)
    if (option.name == "activations" && option.value == "f32")
      work.int8 = false;
  if (!model.facts)
    return work;
  const rt::ModelFacts &facts = *model.facts;
  double dModel = facts.dModel, dFF = facts.dFF;
  double queries = double(facts.numHeads) * facts.headDim;
  double keyValues = 2.0 * facts.numKVHeads * facts.headDim;
  work.layerMultiplyAdds =
      double(facts.numLayers) *
      (dModel * (queries + keyValues) + queries * dModel + 3 * dModel * dFF);
  work.vocabularyMultiplyAdds = dModel * model.vocabSize;
  return work;
}

/// A field of /proc/self/status in bytes, 0 if it is not there.
static uint64_t statusBytes(const std::string &field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.compare(0, field.size() + 1, field + ":") == 0)
      return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
  return 0;
}

/// Random tokens; another prompt for each repetition.
static std::vector<int32_t> makePrompt(int64_t length, int64_t vocab,
                                       uint64_t repetition) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i)
    ids.push_back(static_cast<int32_t>(
        rt::uniform24(repetition, 0, static_cast<uint32_t>(i)) % vocab));
  return ids;
}

static double inSeconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

/// Decode rows of candidates that share a row as long as their tokens are
/// equal: the distinct beginnings of their tokens that another token follows.
static uint64_t
distinctBeginnings(const std::set<std::vector<int32_t>> &candidates) {
  uint64_t rows = 0;
  const std::vector<int32_t> *before = nullptr;
  // The set is sorted, so that the longest common beginning is a neighbour's.
  for (const std::vector<int32_t> &tokens : candidates) {
    size_t shared = 0;
    if (before)
      shared = static_cast<size_t>(std::mismatch(tokens.begin(), tokens.end(),
                                                 before->begin(), before->end())
                                       .first -
                                   tokens.begin());
    size_t computed = tokens.size() - 1;
    rows += computed - std::min(shared, computed);
    before = &tokens;
  }
  return rows;
}

static rt::Status wrongRows(uint64_t found, uint64_t needed) {
  return rt::Status::error(rt::ExitCode::Internal, "rows", "rows_computed",
                           std::to_string(found) + ", expected are " +
                               std::to_string(needed) +
                               ": the prompt's and those of the distinct "
                               "beginnings of candidates");
}

rt::StatusOr<nlohmann::ordered_json>
bench::measure(const Configuration &configuration, tool::Console &console) {
  rt::StatusOr<std::shared_ptr<const rt::Artifact>> artifact =
      rt::Artifact::open(configuration.artifact);
  CHORUS_RETURN_IF_ERROR(artifact.status());
  rt::StatusOr<std::shared_ptr<const rt::Program>> program =
      rt::Program::load(*artifact, 0);
  CHORUS_RETURN_IF_ERROR(program.status());
  rt::EngineOptions options;
  options.threads = configuration.threads;
  rt::StatusOr<std::unique_ptr<rt::Engine>> engine =
      rt::Engine::create(*program, nullptr, options);
  CHORUS_RETURN_IF_ERROR(engine.status());

  int64_t P = configuration.promptTokens, G = configuration.generate;
  int64_t n = configuration.candidates;
  if (P + G > (*engine)->contextLength())
    return rt::usageError("prompt-tokens + generate is " +
                          std::to_string(P + G) + ", allowed is " +
                          std::to_string((*engine)->contextLength()) +
                          " (the context)");
  nlohmann::ordered_json samples = nlohmann::ordered_json::array();
  // The fewest of a repetition, so that no share of a peak is too high.
  uint64_t leastRows = UINT64_MAX, peakAnon = 0;
  Profile profile((*program)->code());
  rt::DecoderCounters profiled;
  // One round more than is counted, to warm up, and one for the profile.
  int64_t rounds = configuration.repeat + 1 + configuration.profile;
  for (int64_t r = 0; r < rounds; ++r) {
    bool isProfiled = r > configuration.repeat;
    console.progress("n " + std::to_string(n) + ", threads " +
                     std::to_string(configuration.threads) + ": repetition " +
                     std::to_string(r) + " of " +
                     std::to_string(configuration.repeat));
    rt::Request request;
    request.prompt =
        makePrompt(P, (*program)->model().vocabSize, static_cast<uint64_t>(r));
    request.candidates = n;
    request.maxTokens = G;
    request.sampling.temperature = 0.8;
    request.sampling.seed = static_cast<uint64_t>(r);
    request.ignoreEos = true;
    rt::DecoderCounters before = (*engine)->counters();
    if (isProfiled) {
      (*engine)->threads().observeLoops(&profile);
      profile.start();
    }
    rt::StatusOr<rt::Generation> generation = (*engine)->generate(request);
    CHORUS_RETURN_IF_ERROR(generation.status());
    if (isProfiled) {
      profile.stop();
      (*engine)->threads().observeLoops(nullptr);
      profiled = (*engine)->counters();
      profiled.steps -= before.steps;
      profiled.rowsComputed -= before.rowsComputed;
      profiled.outputRows -= before.outputRows;
      profiled.positionsRead -= before.positionsRead;
    }
    std::set<std::vector<int32_t>> distinct;
    for (const rt::Candidate &candidate : generation->candidates) {
      CHORUS_RETURN_IF_ERROR(candidate.error);
      distinct.insert(candidate.tokenIds);
    }
    uint64_t rows = (*engine)->counters().rowsComputed - before.rowsComputed;
    uint64_t expected = static_cast<uint64_t>(P) + distinctBeginnings(distinct);
    if (rows != expected)
      return wrongRows(rows, expected);
    leastRows = std::min(leastRows, rows);
    peakAnon = std::max(peakAnon, statusBytes("RssAnon"));
    if (r == 0 || isProfiled)
      continue;
    double prefill = inSeconds(generation->promptTime);
    double first = inSeconds(generation->firstTokens);
    double total = inSeconds(generation->total);
    nlohmann::ordered_json sample;
    sample["prefill_tok_s"] = double(P) / prefill;
    sample["decode_tok_s"] =
        G > 1 ? nlohmann::ordered_json(double(n * (G - 1)) / (total - first))
              : nlohmann::ordered_json();
    sample["total_tok_s"] = double(n * G) / total;
    sample["ttft_s"] = first;
    sample["distinct_candidates"] = distinct.size();
    sample["rows_computed"] = rows;
    samples.push_back(std::move(sample));
  }
  nlohmann::ordered_json result;
  result["threads_started"] = (*engine)->threads().threads();
  result["target"] = std::string((*program)->code().target);
  result["rows_computed"] = leastRows;
  result["peak_rss_bytes"] = statusBytes("VmHWM");
  result["peak_anon_bytes"] = peakAnon;
  result["samples"] = std::move(samples);
  if (configuration.profile)
    result["profile"] = profile.summary(profiled);
  if (!configuration.trace.empty())
    CHORUS_RETURN_IF_ERROR(profile.writeTrace(configuration.trace));
  return result;
}
