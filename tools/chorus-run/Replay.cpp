//===- Replay.cpp - Candidates again, from their records ------------------===//

#include "Replay.h"

#include "Cancellation.h"
#include "HeaderRun.h"
#include "Input.h"
#include "Output.h"

#include "chorus_rt/Record.h"
#include "chorus_rt/Replay.h"

using namespace chorus;
using namespace chorus::run;

/// Records are read at once; a longer file is no record.
static constexpr size_t maxRecordBytes = size_t(256) << 20;

/// The candidate again; empty when it was cancelled.
static rt::StatusOr<std::vector<rt::Candidate>>
runAgain(chorus_engine &handle, const rt::RecordedCandidate &recorded) {
  if (!recorded.beams) {
    rt::GenerationHooks hooks;
    hooks.shouldCancel = cancelRequested;
    rt::StatusOr<Handle<chorus_result>> result =
        runRequest(handle, recorded.request, hooks);
    CHORUS_RETURN_IF_ERROR(result.status());
    return rt::generationOf(**result).candidates;
  }
  // A beam depends on all others of its search.
  rt::StatusOr<rt::BeamResults> beams = rt::engineOf(handle).beamSearch(
      recorded.request, *recorded.beams, cancelRequested);
  CHORUS_RETURN_IF_ERROR(beams.status());
  std::vector<rt::Candidate> found;
  for (rt::Candidate &beam : beams->candidates)
    if (beam.index == recorded.request.firstCandidate)
      found.push_back(std::move(beam));
  return found;
}

static rt::Status replayOne(chorus_engine &handle,
                            const rt::RecordedCandidate &recorded,
                            const Options &options) {
  const rt::Engine &engine = rt::engineOf(handle);
  CHORUS_RETURN_IF_ERROR(rt::checkReplayable(recorded, engine.program()));
  rt::StatusOr<std::vector<rt::Candidate>> again = runAgain(handle, recorded);
  CHORUS_RETURN_IF_ERROR(again.status());
  CHORUS_RETURN_IF_ERROR(cancellationStatus());
  rt::RecordContext context;
  context.request = &recorded.request;
  context.beams = recorded.beams;
  context.artifactSha256 = recorded.artifactSha256;
  context.numericProfile = recorded.numericProfile;
  context.hasTokenizer = engine.tokenizer() != nullptr;
  CHORUS_RETURN_IF_ERROR(
      printResults(options, context, *again, rt::rankByMeanLogprob(*again)));
  if (again->empty())
    again->emplace_back().index = recorded.request.firstCandidate;
  return rt::compareReplay(recorded, again->front());
}

rt::Status run::replay(chorus_engine &engine, const Options &options,
                       tool::Console &console) {
  std::string path = options.replay.value_or("-");
  rt::StatusOr<std::string> text = readText(path, maxRecordBytes);
  CHORUS_RETURN_IF_ERROR(text.status());
  std::string name = rt::escapeForMessage(path == "-" ? "stdin" : path);
  std::string_view rest = *text;
  for (int64_t number = 1; !rest.empty(); ++number) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
      continue;
    rt::StatusOr<std::vector<rt::RecordedCandidate>> records = rt::parseRecords(
        line, name, number, rt::engineOf(engine).program().model().vocabSize);
    CHORUS_RETURN_IF_ERROR(records.status());
    for (const rt::RecordedCandidate &recorded : *records) {
      console.progress("record " + std::to_string(number));
      rt::Status status = replayOne(engine, recorded, options);
      console.clearProgress();
      CHORUS_RETURN_IF_ERROR(status);
    }
  }
  return rt::Status();
}
