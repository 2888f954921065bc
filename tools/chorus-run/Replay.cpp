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

static rt::Status replayOne(chorus_engine &handle, std::string_view json,
                            const std::string &file, int64_t number,
                            const Options &options) {
  const rt::Engine &engine = rt::engineOf(handle);
  rt::StatusOr<rt::RecordedCandidate> recorded =
      rt::parseRecord(json, file, number, engine.program().model().vocabSize);
  CHORUS_RETURN_IF_ERROR(recorded.status());
  CHORUS_RETURN_IF_ERROR(rt::checkReplayable(*recorded, engine.program()));
  rt::GenerationHooks hooks;
  hooks.shouldCancel = cancelRequested;
  rt::StatusOr<Handle<chorus_result>> result =
      runRequest(handle, recorded->request, hooks);
  CHORUS_RETURN_IF_ERROR(result.status());
  const rt::Generation &generation = rt::generationOf(**result);
  CHORUS_RETURN_IF_ERROR(cancellationStatus());
  rt::RecordContext context;
  context.request = &recorded->request;
  context.artifactSha256 = recorded->artifactSha256;
  context.numericProfile = recorded->numericProfile;
  context.hasTokenizer = engine.tokenizer() != nullptr;
  CHORUS_RETURN_IF_ERROR(
      printResults(options, context, generation.candidates,
                   rt::rankByMeanLogprob(generation.candidates)));
  return rt::compareReplay(*recorded, generation.candidates.front());
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
    console.progress("record " + std::to_string(number));
    rt::Status status = replayOne(engine, line, name, number, options);
    console.clearProgress();
    CHORUS_RETURN_IF_ERROR(status);
  }
  return rt::Status();
}
