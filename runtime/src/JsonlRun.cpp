//===- JsonlRun.cpp - Many requests, from a file to a file ----------------===//

#include "chorus_rt/JsonlRun.h"

#include "FileAccess.h"
#include "chorus_rt/AtomicFile.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace chorus::rt {

using Clock = std::chrono::steady_clock;

/// A group is synced when it is this large, or when the last sync is long ago:
/// measured by how long that took, so that syncs take a twentieth of the time.
static constexpr size_t groupBytes = 4 << 20;
static constexpr Clock::duration shortestGroup = std::chrono::milliseconds(50);
static constexpr int syncShare = 20;

/// Of an output that is there already, so much is looked at.
static constexpr size_t maxFirstLineBytes = 16 << 20;

//===----------------------------------------------------------------------===//
// Texts
//===----------------------------------------------------------------------===//

/// A request's text as the journal has it: lines with the failure's code (empty
/// if there is none), the id as JSON, the further members, and each record
/// behind its rank. JSON texts have no line ends in them.
static std::string journalText(const std::string &id, const RequestText &text) {
  std::string out = text.failure.code() + "\n";
  appendJsonString(out, id);
  out += "\n" + text.members + "\n";
  for (const RequestText::Record &record : text.records)
    out += std::to_string(record.rank) + " " + record.text + "\n";
  return out;
}

/// The reverse, over views into the journal's text.
namespace {
struct JournalText {
  std::string_view code, id, members;
  struct Record {
    int64_t rank = 0;
    std::string_view text;
  };
  std::vector<Record> records;
};
} // namespace

static JournalText parseJournalText(std::string_view text) {
  auto takeLine = [&] {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
  };
  JournalText parsed;
  parsed.code = takeLine();
  parsed.id = takeLine();
  parsed.members = takeLine();
  while (!text.empty()) {
    std::string_view line = takeLine();
    JournalText::Record record;
    size_t blank = std::min(line.find(' '), line.size() - 1);
    for (char digit : line.substr(0, blank))
      record.rank = 10 * record.rank + (digit - '0');
    record.text = line.substr(blank + 1);
    parsed.records.push_back(record);
  }
  return parsed;
}

/// What is written of a request that never ran.
static RequestText textOfFailure(const Status &status,
                                 bool recordPerCandidate) {
  RequestText text;
  text.failure = status;
  if (recordPerCandidate)
    text.members = ",\"finish_reason\":\"error\"";
  text.members += ",\"error\":{\"code\":";
  appendJsonString(text.members, status.code());
  text.members += ",\"message\":";
  appendJsonString(text.members,
                   (status.place().empty() ? "" : status.place() + ": ") +
                       status.message());
  text.members += "}";
  return text;
}

//===----------------------------------------------------------------------===//
// The run
//===----------------------------------------------------------------------===//

namespace {

class Run {
public:
  Run(Engine &engine, const JsonlOptions &options, const JsonlHooks &hooks)
      : engine(engine), options(options), hooks(hooks) {}

  StatusOr<JsonlOutcome> run();

private:
  using Sorter = SpillSorter<JournalEntry>;

  Status openAll();
  Status openInput();
  Status checkPaths() const;
  Status scan();
  StatusOr<JournalFingerprint> fingerprint();
  Status beginJournal();
  Status checkExisting();

  Status preparePrompt(const RequestLine &line, std::vector<int32_t> &prompt);
  Status readRequest(const JsonlLine &text, RequestLine &line);
  Status readFound();
  StatusOr<std::vector<int64_t>> takeFound(int64_t line);
  Status readAhead();
  Status start(const JsonlLine &text, const std::vector<int64_t> &found);
  Status fail(const RequestLine &line, const Status &status);

  Status runRequests();
  Status collect();
  Status journalCandidates(int64_t number);
  Status keep(const RequestLine &line, int64_t candidate,
              const RequestText &text);
  Status syncIfDue();
  void tellProgress();

  std::string outputText(std::string_view record, int64_t line);
  Status printHeld();
  Status write();

  bool toStdout() const { return options.output == "-"; }
  bool isCancelled() const {
    return hooks.shouldCancel && hooks.shouldCancel();
  }
  int64_t vocabSize() const { return engine.program().model().vocabSize; }
  RecordContext contextOf(const Request &request) const;
  void note(const std::string &text) const {
    if (hooks.note)
      hooks.note(text);
  }

  Engine &engine;
  const JsonlOptions &options;
  const JsonlHooks &hooks;
  JsonlOutcome outcome;
  std::string firstFailureCode;
  int64_t firstFailureLine = 0, lastFailureLine = 0;

  OutputPlace place;
  std::unique_ptr<JsonlInput> input;
  bool inputEnded = false;
  /// The output has everything.
  bool complete = false;

  struct UnderWay {
    RequestLine line;
    /// By candidate; empty where the request is journaled as a whole.
    std::vector<bool> journaled;
    int64_t journaledCount = 0;
  };

  bool byCandidate() const {
    return options.recordPerCandidate && hooks.describeCandidate && !toStdout();
  }

  /// What the engine works on, by its number.
  std::map<int64_t, UnderWay> underWay;
  int64_t candidatesUnderWay = 0;
  int64_t tokensFinished = 0;

  std::unique_ptr<Journal> journal;
  /// Of former runs; `nextFound` has been read already.
  std::unique_ptr<Sorter::Reader> found;
  JournalEntry nextFound;
  bool moreFound = false;
  Clock::time_point nextSync{};

  /// For stdout: by line, what has not had its turn; empty where it is under
  /// way.
  std::map<int64_t, std::string> held;
};

} // namespace

static bool sameFile(const struct stat &a, const struct stat &b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static Status otherJob(const std::string &shown, const std::string &message) {
  return Status::error(ExitCode::Usage, "J10", shown, message);
}

/// J10: before anything is opened for writing.
Status Run::checkPaths() const {
  struct stat out, other;
  for (const char *suffix : {"", ".journal"}) {
    if (stat((options.output + suffix).c_str(), &out) != 0)
      continue;
    std::string shown = escapeForMessage(options.output, 190) + suffix;
    if (fstat(input->descriptor(), &other) == 0 && sameFile(out, other))
      return otherJob(shown, "is the input; another --out is needed");
    if (stat(engine.program().artifact().path().c_str(), &other) == 0 &&
        sameFile(out, other))
      return otherJob(shown, "is the model; another --out is needed");
  }
  return Status();
}

StatusOr<JsonlOutcome> Run::run() {
  CHORUS_RETURN_IF_ERROR(openAll());
  if (!isCancelled()) {
    Status status = scan();
    if (!isCancelled())
      CHORUS_RETURN_IF_ERROR(status);
  }
  if (!isCancelled() && !toStdout())
    CHORUS_RETURN_IF_ERROR(beginJournal());
  if (!isCancelled())
    CHORUS_RETURN_IF_ERROR(runRequests());
  if (!isCancelled() && !toStdout())
    CHORUS_RETURN_IF_ERROR(write());
  // A signal that comes when all is done changes nothing.
  outcome.cancelled = isCancelled() && !complete;
  if (outcome.failed > 0)
    outcome.firstFailure = Status::error(
        ExitCode::SomeRecordsFailed, firstFailureCode,
        input->shown() + ":" + std::to_string(firstFailureLine),
        "the first of " + std::to_string(outcome.failed) +
            " failed requests of " + std::to_string(outcome.progress.requests) +
            "; the output says why");
  return outcome;
}

/// Opens the input and locks the output. Standard output has no folder: what is
/// made beside an output goes where temporary files go.
Status Run::openAll() {
  std::string path = options.output;
  if (toStdout()) {
    const char *folder = std::getenv("TMPDIR");
    path = std::string(folder && *folder ? folder : "/tmp") + "/chorus-" +
           std::to_string(getpid());
  }
  StatusOr<OutputPlace> opened = OutputPlace::open(path);
  CHORUS_RETURN_IF_ERROR(opened.status());
  place = std::move(*opened);
  if (options.input != "-")
    CHORUS_RETURN_IF_ERROR(openInput());
  if (!toStdout()) {
    CHORUS_RETURN_IF_ERROR(checkPaths());
    StatusOr<Journal> locked = Journal::open(place);
    CHORUS_RETURN_IF_ERROR(locked.status());
    journal = std::make_unique<Journal>(std::move(*locked));
    // What a killed process left goes; and whether the output can be written
    // is known before there is anything to lose.
    removeUnnamedFile(place);
    CHORUS_RETURN_IF_ERROR(AtomicFile::create(options.output).status());
  }
  // The copy of stdin has the name that the lock protects.
  return options.input == "-" ? openInput() : Status();
}

Status Run::openInput() {
  StatusOr<JsonlInput> opened =
      JsonlInput::open(options.input, place, hooks.shouldCancel);
  CHORUS_RETURN_IF_ERROR(opened.status());
  input = std::make_unique<JsonlInput>(std::move(*opened));
  return Status();
}

Status Run::scan() {
  return scanRequestLines(
      *input, place, options.defaults, vocabSize(),
      [&](RequestLine &line, const Status &parsed) {
        ++outcome.progress.requests;
        if (isCancelled())
          return limitError("cancelled", "", "the scan is not complete");
        if (!options.strict)
          return Status();
        Status status = parsed;
        std::vector<int32_t> prompt;
        if (status.ok())
          status = preparePrompt(line, prompt);
        return status.exitCode() == ExitCode::SomeRecordsFailed
                   ? refused(status.code(), status.place(), status.message())
                   : status;
      });
}

/// All that the output depends on. Threads, batches, chunks, caches and the
/// CPU's level change no bit.
StatusOr<JournalFingerprint> Run::fingerprint() {
  StatusOr<Sha256Digest> digest = input->digest();
  CHORUS_RETURN_IF_ERROR(digest.status());
  JournalFingerprint all = {
      {"artifact", engine.program().artifact().artifactSha256()},
      {"input", toHex(*digest)},
      {"records", options.recordPerCandidate ? "candidate" : "request"},
      {"context", std::to_string(engine.contextLength())},
      {"n", std::to_string(options.defaults.candidates)},
      {"seed", std::to_string(options.defaults.sampling.seed)}};
  auto record = nlohmann::ordered_json::parse(
      recordLine(contextOf(options.defaults), Candidate()));
  for (const auto &[name, value] : record["parameters"].items())
    all.emplace_back(name, value.dump());
  all.insert(all.end(), options.parameters.begin(), options.parameters.end());
  return all;
}

Status Run::beginJournal() {
  StatusOr<JournalFingerprint> identity = fingerprint();
  CHORUS_RETURN_IF_ERROR(identity.status());
  StatusOr<Journal::State> state = journal->begin(*identity, options.salvage);
  CHORUS_RETURN_IF_ERROR(state.status());
  if (state->records == 0)
    CHORUS_RETURN_IF_ERROR(checkExisting());
  if (state->cutBytes > 0)
    note(journal->shown() + ": " + std::to_string(state->cutBytes) +
         " bytes at the end were not complete and are cut off");
  if (state->damagedRegions > 0)
    note(journal->shown() + ": " + std::to_string(state->damagedRegions) +
         " damaged places, the first at byte " +
         std::to_string(state->firstDamage) + ", are run again");
  if (state->records > 0)
    note(journal->shown() + ": goes on after " +
         std::to_string(state->records) + " finished records");
  StatusOr<Sorter::Reader> entries = journal->entries();
  CHORUS_RETURN_IF_ERROR(entries.status());
  found = std::make_unique<Sorter::Reader>(std::move(*entries));
  return readFound();
}

/// J10: an output without a journal is the result of a finished run. Only that
/// of this very run, as far as its first line tells, may be replaced.
Status Run::checkExisting() {
  int fd = openat(place.folder(), place.name().c_str(),
                  O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return errno == ENOENT ? Status() : fileError(place.shown(), "open");
  std::string line(maxFirstLineBytes, '\0');
  int64_t got = readFully(fd, line.data(), line.size(), 0);
  ::close(fd);
  if (got < 0)
    return fileError(place.shown(), "read");
  line.resize(static_cast<size_t>(got));
  if (line.empty())
    return Status();
  line.resize(std::min(line.find('\n'), line.size()));

  auto has = [&](const std::string &part) {
    return line.find(part) != std::string::npos;
  };
  bool ours = false;
  JsonlLine text;
  RequestLine first;
  input->rewind();
  StatusOr<bool> any = input->next(text);
  CHORUS_RETURN_IF_ERROR(any.status());
  if (*any) {
    Status status = readRequest(text, first);
    std::string id;
    appendJsonString(id, first.request.id);
    std::string start = options.recordPerCandidate
                            ? "{\"request\":" + id
                            : "{\"id\":" + id + ",\"candidates\":[";
    RecordContext context = contextOf(first.request);
    ours = line.compare(0, start.size(), start) == 0 &&
           (status.ok()
                ? has(recordOrigin(context)) &&
                      has(",\"seed\":" +
                          std::to_string(first.request.sampling.seed) +
                          ",\"prompt_tokens\":" +
                          std::to_string(first.request.prompt.size()) + ",")
                : has("\"error\":{\"code\":\"" + status.code() + "\""));
  }
  return ours ? Status()
              : otherJob(place.shown(),
                         "is there and is no result of this run; another "
                         "--out, or its removal, is needed");
}

RecordContext Run::contextOf(const Request &request) const {
  const Artifact &artifact = engine.program().artifact();
  RecordContext context;
  context.request = &request;
  context.artifactSha256 = artifact.artifactSha256();
  context.numericProfile = std::string(artifact.metadata().numericProfile);
  context.hasTokenizer = engine.tokenizer() != nullptr;
  return context;
}

//===----------------------------------------------------------------------===//
// From lines to requests
//===----------------------------------------------------------------------===//

/// Errors of one record (exit code 1) have the line's place.
Status Run::preparePrompt(const RequestLine &line,
                          std::vector<int32_t> &prompt) {
  std::string place = input->shown() + ":" + std::to_string(line.number);
  auto error = [&](const std::string &code, const std::string &field,
                   const std::string &message) {
    return Status::error(ExitCode::SomeRecordsFailed, code,
                         field.empty() ? place : place + ": " + field, message);
  };
  StatusOr<std::vector<int32_t>> made = hooks.promptOf(line);
  if (!made.ok() && made.status().code() == "N10")
    return made.status();
  if (!made.ok())
    // Messages of a wrong shape are a field of a wrong type here.
    return error(made.status().code() == "T01" ? "J04" : made.status().code(),
                 made.status().place(), made.status().message());
  prompt = std::move(*made);
  if (prompt.empty() ||
      static_cast<int64_t>(prompt.size()) > engine.contextLength())
    return error("J06", "",
                 "the prompt has " + std::to_string(prompt.size()) +
                     " tokens, allowed are 1 to " +
                     std::to_string(engine.contextLength()) + " (the context)");
  return Status();
}

Status Run::readRequest(const JsonlLine &text, RequestLine &line) {
  Status status = parseRequestLine(text, input->shown(), options.defaults,
                                   vocabSize(), line);
  return status.ok() ? preparePrompt(line, line.request.prompt) : status;
}

Status Run::readFound() {
  StatusOr<bool> more = found->next(nextFound);
  CHORUS_RETURN_IF_ERROR(more.status());
  moreFound = *more;
  return Status();
}

/// The candidates of a line that are in the journal, or JournalKey's
/// wholeRequest. Both the lines and the entries come in rising order.
StatusOr<std::vector<int64_t>> Run::takeFound(int64_t line) {
  std::vector<int64_t> candidates;
  while (moreFound && nextFound.key.request <= line) {
    if (nextFound.key.request == line)
      candidates.push_back(nextFound.key.candidate);
    CHORUS_RETURN_IF_ERROR(readFound());
  }
  return candidates;
}

/// Gives the engine requests until it has enough.
Status Run::readAhead() {
  JsonlLine text;
  while (!inputEnded && !isCancelled() &&
         (underWay.empty() || candidatesUnderWay < options.candidatesAhead) &&
         held.size() < static_cast<size_t>(options.candidatesAhead)) {
    StatusOr<bool> more = input->next(text);
    CHORUS_RETURN_IF_ERROR(more.status());
    if (!*more) {
      inputEnded = true;
      break;
    }
    StatusOr<std::vector<int64_t>> found = takeFound(text.number);
    CHORUS_RETURN_IF_ERROR(found.status());
    CHORUS_RETURN_IF_ERROR(start(text, *found));
  }
  return Status();
}

/// `found`: what the journal has of the request.
Status Run::start(const JsonlLine &text, const std::vector<int64_t> &found) {
  auto isWhole = [&](int64_t candidates) {
    return !found.empty() && (found.front() == JournalKey::wholeRequest ||
                              static_cast<int64_t>(found.size()) == candidates);
  };
  bool whole = isWhole(-1);
  UnderWay request;
  RequestLine &line = request.line;
  Status status;
  if (!whole) {
    status = parseRequestLine(text, input->shown(), options.defaults,
                              vocabSize(), line);
    whole = isWhole(line.request.candidates);
  }
  if (whole) {
    ++outcome.progress.found;
    ++outcome.progress.finished;
    return Status();
  }
  if (toStdout())
    held.emplace(text.number, "");
  if (status.ok())
    status = preparePrompt(line, line.request.prompt);
  if (!status.ok())
    return fail(line, status);
  StatusOr<int64_t> number = engine.submit(line.request);
  if (!number.ok())
    return fail(line, number.status());
  candidatesUnderWay += line.request.candidates;
  if (byCandidate())
    request.journaled.resize(static_cast<size_t>(line.request.candidates));
  for (int64_t candidate : found) {
    request.journaled[static_cast<size_t>(candidate)] = true;
    ++request.journaledCount;
    engine.cancel(*number, candidate);
  }
  underWay.emplace(*number, std::move(request));
  return Status();
}

/// A request that does not run. What one request may not have is an error of
/// its own; what the machine lacks ends the run.
Status Run::fail(const RequestLine &line, const Status &status) {
  std::string code = status.code(), where = status.place();
  std::string path = input->shown() + ":";
  if (status.exitCode() == ExitCode::Usage)
    code = "J05";
  else if (status.exitCode() != ExitCode::SomeRecordsFailed && code != "N09" &&
           where != "max-memory")
    return status;
  // The output does not depend on where the input is.
  if (where.compare(0, path.size(), path) == 0)
    where.replace(0, path.size(), "line ");
  else
    where = "line " + std::to_string(line.number);
  ++outcome.progress.finished;
  return keep(line, JournalKey::wholeRequest,
              textOfFailure(Status::error(ExitCode::SomeRecordsFailed, code,
                                          where, status.message()),
                            options.recordPerCandidate));
}

//===----------------------------------------------------------------------===//
// From results to records
//===----------------------------------------------------------------------===//

Status Run::runRequests() {
  input->rewind();
  Status status;
  while (status.ok() && !isCancelled()) {
    status = readAhead();
    if (status.ok() && underWay.empty() && inputEnded) {
      complete = toStdout();
      break;
    }
    if (status.ok() && !engine.idle())
      status = engine.step();
    if (status.ok())
      status = collect();
    if (status.ok())
      status = syncIfDue();
    tellProgress();
  }
  for (const auto &[number, request] : underWay)
    engine.cancel(number);
  // What was finished is kept, whatever stopped the run.
  Status synced = journal ? journal->sync() : Status();
  return status.ok() ? synced : status;
}

/// Journals what has finished. Nothing is taken from a run that is to end: the
/// texts may lack what their making was not given time for.
Status Run::collect() {
  if (byCandidate())
    for (const auto &[number, request] : underWay)
      CHORUS_RETURN_IF_ERROR(journalCandidates(number));
  while (std::optional<int64_t> number = engine.nextFinished()) {
    auto at = underWay.find(*number);
    if (at == underWay.end())
      continue;
    UnderWay request = std::move(at->second);
    const RequestLine &line = request.line;
    underWay.erase(at);
    candidatesUnderWay -= line.request.candidates;
    Generation generation = engine.take(*number);
    for (const Candidate &candidate : generation.candidates)
      tokensFinished += static_cast<int64_t>(candidate.tokenIds.size());
    if (!byCandidate()) {
      StatusOr<RequestText> text =
          hooks.describe(line, contextOf(line.request), generation);
      if (isCancelled())
        return Status();
      CHORUS_RETURN_IF_ERROR(text.status());
      CHORUS_RETURN_IF_ERROR(keep(line, JournalKey::wholeRequest, *text));
    }
    ++outcome.progress.finished;
  }
  return Status();
}

/// Journals candidates of a request that have finished.
Status Run::journalCandidates(int64_t number) {
  UnderWay &request = underWay.at(number);
  if (engine.progress(number).finished == request.journaledCount)
    return Status();
  for (size_t i = 0; i < request.journaled.size(); ++i) {
    const Candidate *candidate = engine.finishedCandidate(number, i);
    if (!candidate || request.journaled[i])
      continue;
    StatusOr<RequestText> text = hooks.describeCandidate(
        request.line, contextOf(request.line.request), *candidate);
    CHORUS_RETURN_IF_ERROR(text.status());
    CHORUS_RETURN_IF_ERROR(keep(request.line, candidate->index, *text));
    request.journaled[i] = true;
    ++request.journaledCount;
  }
  return Status();
}

Status Run::keep(const RequestLine &line, int64_t candidate,
                 const RequestText &text) {
  std::string record = journalText(line.request.id, text);
  if (toStdout()) {
    held[line.number] = std::move(record);
    return printHeld();
  }
  journal->append({line.number, candidate}, record);
  return syncIfDue();
}

Status Run::syncIfDue() {
  if (!journal || journal->pendingBytes() == 0 ||
      (journal->pendingBytes() < groupBytes && Clock::now() < nextSync))
    return Status();
  Clock::time_point begin = Clock::now();
  CHORUS_RETURN_IF_ERROR(journal->sync());
  Clock::time_point end = Clock::now();
  nextSync = end + std::max(shortestGroup, syncShare * (end - begin));
  return Status();
}

void Run::tellProgress() {
  if (!hooks.onProgress)
    return;
  outcome.progress.tokens = tokensFinished;
  for (const auto &[number, request] : underWay)
    outcome.progress.tokens += engine.progress(number).tokens;
  hooks.onProgress(outcome.progress);
}

//===----------------------------------------------------------------------===//
// From records to the output
//===----------------------------------------------------------------------===//

/// The lines of one request.
std::string Run::outputText(std::string_view record, int64_t line) {
  JournalText text = parseJournalText(record);
  if (!text.code.empty() && line != lastFailureLine) {
    lastFailureLine = line;
    if (outcome.failed++ == 0) {
      firstFailureCode = text.code;
      firstFailureLine = line;
    }
  }
  std::string out;
  if (!options.recordPerCandidate)
    out = "{\"id\":" + std::string(text.id) + ",\"candidates\":[";
  bool any = false;
  for (const JournalText::Record &candidate : text.records) {
    if (candidate.rank > options.top.value_or(INT64_MAX))
      continue;
    if (any && !options.recordPerCandidate)
      out += ',';
    any = true;
    out += candidate.text;
    if (options.recordPerCandidate)
      out += '\n';
  }
  if (!options.recordPerCandidate)
    out += "]" + std::string(text.members) + "}\n";
  else if (!any)
    out = "{\"request\":" + std::string(text.id) + std::string(text.members) +
          "}\n";
  return out;
}

/// Prints the first of those held, as far as they are finished.
Status Run::printHeld() {
  while (!held.empty() && !held.begin()->second.empty()) {
    CHORUS_RETURN_IF_ERROR(
        hooks.print(outputText(held.begin()->second, held.begin()->first)));
    held.erase(held.begin());
  }
  return Status();
}

Status Run::write() {
  CHORUS_RETURN_IF_ERROR(journal->checkPlace());
  StatusOr<AtomicFile> file = AtomicFile::create(options.output);
  CHORUS_RETURN_IF_ERROR(file.status());
  StatusOr<Sorter::Reader> entries = journal->entries();
  CHORUS_RETURN_IF_ERROR(entries.status());
  JournalKey before{-1};
  int64_t requests = 0;
  std::string record;
  for (JournalEntry entry; !isCancelled();) {
    StatusOr<bool> more = entries->next(entry);
    CHORUS_RETURN_IF_ERROR(more.status());
    if (!*more)
      break;
    if (entry.key == before)
      continue;
    requests += entry.key.request != before.request;
    before = entry.key;
    CHORUS_RETURN_IF_ERROR(journal->read(entry, record));
    std::string out = outputText(record, entry.key.request);
    CHORUS_RETURN_IF_ERROR(file->append(out.data(), out.size()));
  }
  if (isCancelled())
    return Status();
  if (requests != outcome.progress.requests)
    return Status::error(ExitCode::Internal, "internal", journal->shown(),
                         "has " + std::to_string(requests) + " requests of " +
                             std::to_string(outcome.progress.requests));
  CHORUS_RETURN_IF_ERROR(file->commit());
  complete = true;
  return journal->remove();
}

StatusOr<JsonlOutcome> runJsonl(Engine &engine, const JsonlOptions &options,
                                const JsonlHooks &hooks) try {
  return Run(engine, options, hooks).run();
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory");
}

} // namespace chorus::rt
