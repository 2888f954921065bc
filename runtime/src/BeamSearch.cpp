//===- BeamSearch.cpp - The likeliest continuations -----------------------===//

#include "chorus_rt/BeamSearch.h"

#include "chorus_rt/Sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>
#include <tuple>

namespace chorus::rt {

Status BeamOptions::validate() const {
  if (beams < 1 || beams > 1024)
    return usageError("beams is " + std::to_string(beams) +
                      ", allowed is 1 to 1024");
  if (!(lengthPenalty >= 0 && lengthPenalty <= 10))
    return usageError("length-penalty is not a number from 0 to 10");
  return Status();
}

namespace {

/// An unfinished beam with its sequence.
struct Alive {
  Beam beam;
  Sequence sequence;
};

/// A beam and one more token.
struct Extension {
  double sum;
  size_t parent;
  int32_t token;
  float logprob;

  bool operator<(const Extension &other) const {
    return std::tie(other.sum, parent, token) <
           std::tie(sum, other.parent, other.token);
  }
};

class Search {
public:
  Search(Decoder &decoder, ThreadPool &threads, const BeamTask &task,
         const ScalarFunctions &functions)
      : decoder(decoder), threads(threads), task(task), functions(functions),
        beams(static_cast<size_t>(task.options.beams)) {}

  StatusOr<std::vector<Beam>> run() {
    CHORUS_RETURN_IF_ERROR(start());
    for (int64_t length = 1; length <= task.maxTokens && !alive.empty();
         ++length) {
      if (cancelled())
        return std::vector<Beam>();
      CHORUS_RETURN_IF_ERROR(extend());
      advance(length);
      if (isDecided())
        break;
      if (length < task.maxTokens)
        CHORUS_RETURN_IF_ERROR(computeAlive());
    }
    return std::move(finished);
  }

private:
  double penalty(int64_t length) const {
    double x = static_cast<double>(length);
    if (task.options.lengthForm == LengthForm::GNMT)
      x = (5 + x) / 6;
    return functions.power(x, task.options.lengthPenalty);
  }

  bool cancelled() const { return task.shouldCancel && task.shouldCancel(); }

  /// One beam: the prompt.
  Status start() {
    vocab = decoder.vocabSize();
    size_t rows = std::max<size_t>(beams, 1);
    CHORUS_RETURN_IF_ERROR(
        logits.reserve(rows * static_cast<size_t>(vocab) * sizeof(float)));
    logSumExp.resize(rows);
    alive.push_back({Beam(), decoder.newSequence()});
    Sequence &sequence = alive.front().sequence;
    sequence.append(task.prompt);
    while (sequence.computed() < sequence.length() && !cancelled()) {
      int64_t left = sequence.length() - sequence.computed();
      int64_t rowsNow = std::min(left, task.prefillChunk);
      CHORUS_RETURN_IF_ERROR(
          decoder.step({{&sequence, rowsNow, rowsNow == left ? 1 : 0}},
                       logits.as<float>(), logSumExp.data()));
    }
    return Status();
  }

  /// The rows of the beams' last tokens.
  Status computeAlive() {
    std::vector<SequenceRows> batch;
    batch.reserve(alive.size());
    for (Alive &each : alive)
      batch.push_back({&each.sequence, 1, 1});
    return decoder.step(batch, logits.as<float>(), logSumExp.data());
  }

  /// Puts the best extensions of all beams into `best`, best first.
  Status extend() {
    int64_t wanted = static_cast<int64_t>(2 * beams);
    struct Row {
      std::vector<int32_t> ids;
      std::vector<float> logprobs;
    };
    std::vector<Row> rows(alive.size());
    std::atomic<bool> outOfMemory{false};
    threads.forEachRange(
        static_cast<int64_t>(alive.size()), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            try {
              Row &row = rows[static_cast<size_t>(i)];
              Sampler::likeliest(logits.as<float>() + i * vocab, vocab,
                                 logSumExp[static_cast<size_t>(i)], wanted,
                                 row.ids, row.logprobs);
            } catch (const std::bad_alloc &) {
              outOfMemory = true;
            }
        });
    if (outOfMemory)
      return limitError("N10", "beam search", "out of memory");
    best.clear();
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!std::isfinite(logSumExp[i]))
        return Status::error(
            ExitCode::SomeRecordsFailed, "N01", "logits",
            "the model gave NaN or infinity at position " +
                std::to_string(alive[i].sequence.length() - 1));
      for (size_t j = 0; j < rows[i].ids.size(); ++j)
        best.push_back({alive[i].beam.sumLogprob + rows[i].logprobs[j], i,
                        rows[i].ids[j], rows[i].logprobs[j]});
    }
    std::sort(best.begin(), best.end());
    best.resize(std::min(best.size(), 2 * beams));
    return Status();
  }

  /// Parts the extensions, which make beams of `length`, into finished ones and
  /// those that go on.
  void advance(int64_t length) {
    std::vector<Alive> next;
    for (const Extension &extension : best) {
      const Alive &parent = alive[extension.parent];
      bool stops = std::binary_search(task.stopIds.begin(), task.stopIds.end(),
                                      extension.token);
      bool ends = stops || length == task.maxTokens;
      if (!ends && next.size() == beams)
        continue;
      Beam beam = parent.beam;
      beam.tokens.push_back(extension.token);
      beam.logprobs.push_back(extension.logprob);
      beam.sumLogprob = extension.sum;
      if (ends) {
        beam.stopped = stops;
        beam.score = beam.sumLogprob / penalty(length);
        finish(std::move(beam));
        continue;
      }
      next.push_back({std::move(beam), parent.sequence.fork()});
      next.back().sequence.append(extension.token);
    }
    alive = std::move(next);
  }

  /// Equal scores: the one that finished first is better.
  void finish(Beam beam) {
    auto place = std::upper_bound(
        finished.begin(), finished.end(), beam,
        [](const Beam &a, const Beam &b) { return a.score > b.score; });
    finished.insert(place, std::move(beam));
    if (finished.size() > beams)
      finished.pop_back();
  }

  /// Whether no unfinished beam can get better than the finished ones.
  bool isDecided() const {
    return finished.size() == beams && !alive.empty() &&
           alive.front().beam.sumLogprob / penalty(task.maxTokens) <=
               finished.back().score;
  }

  Decoder &decoder;
  ThreadPool &threads;
  const BeamTask &task;
  const ScalarFunctions &functions;
  const size_t beams;

  int64_t vocab = 0;
  ScratchBuffer logits;
  std::vector<float> logSumExp;
  std::vector<Alive> alive; ///< Best first.
  std::vector<Extension> best;
  std::vector<Beam> finished; ///< Best first.
};

} // namespace

StatusOr<std::vector<Beam>> beamSearch(Decoder &decoder, ThreadPool &threads,
                                       const BeamTask &task,
                                       const ScalarFunctions &functions) try {
  CHORUS_RETURN_IF_ERROR(task.options.validate());
  if (!functions)
    return unsupported("beam search",
                       "the model was compiled before there was one; compile "
                       "it again");
  return Search(decoder, threads, task, functions).run();
} catch (const std::bad_alloc &) {
  return limitError("N10", "beam search", "out of memory");
}

} // namespace chorus::rt
