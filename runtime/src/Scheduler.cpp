//===- Scheduler.cpp - Fills each step with rows of many requests ---------===//

#include "chorus_rt/Scheduler.h"

#include "RequestState.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <new>
#include <utility>

namespace chorus::rt {

/// A sequence and the candidates that it is the history of.
struct Scheduler::Branch {
  Branch(RequestState &request, Sequence sequence)
      : request(request), sequence(std::move(sequence)) {}

  int64_t pending() const { return sequence.length() - sequence.computed(); }
  /// Whether rows are pending whose logits nobody wants.
  bool prefills() const { return pending() > outputs; }
  /// The next step may begin with another page.
  bool atPageBorder() const {
    return sequence.computed() % CHORUS_PAGE_POSITIONS == 0;
  }
  bool isDone() const { return candidates.empty() && !request.awaitsScores(); }

  /// Appends the tokens, which all of the candidates go on with.
  void goOn(const std::vector<int32_t> &tokens,
            std::vector<CandidateState *> ofCandidates) {
    sequence.append(tokens);
    outputs = static_cast<int64_t>(tokens.size());
    candidates = std::move(ofCandidates);
  }

  RequestState &request;
  Sequence sequence;
  /// In rising index. Empty where only the prompt is scored.
  std::vector<CandidateState *> candidates;
  /// The last rows, whose logits are wanted: one for each token of the
  /// candidates that is in the sequence without its log-probability, and one
  /// for the next token.
  int64_t outputs = 1;
  /// Room for its way to the end is set aside.
  bool running = false;
  /// Forks of this step, which go behind it.
  Branches forks;
  /// First of its rows of logits in this step, and its number.
  size_t firstRow = 0;
  const float *logits = nullptr;
  const float *logSumExp = nullptr;
};

/// A candidate's next token.
struct Scheduler::Draw {
  Branch *branch;
  CandidateState *candidate;
  SampledToken token;
  bool forced = false;
  const Draw *sameAs = nullptr;
};

Scheduler::Scheduler(Decoder &decoder, const Sampler &sampler,
                     ThreadPool &threads, TokenBytes tokenBytes,
                     SchedulerOptions given)
    : decoder(decoder), sampler(sampler), threads(threads),
      options(std::move(given)),
      rules(std::make_unique<GenerationRules>(GenerationRules{
          decoder.vocabSize(), options.contextLength, options.stopIds,
          std::move(tokenBytes), options.valueHead})) {
  if (KVPool *pool = decoder.pages()) {
    int64_t pages = std::min(options.prefixPages, pool->capacity() / 4);
    if (pages > 0)
      prefixes = std::make_unique<PrefixCache>(*pool, pages);
  }
}

Scheduler::~Scheduler() = default;

//===----------------------------------------------------------------------===//
// Requests
//===----------------------------------------------------------------------===//

Status Scheduler::check(const Request &request) const {
  return RequestState::check(request, *rules);
}

int64_t Scheduler::pagesNeeded(const Request &request) const {
  if (!decoder.pages())
    return 0;
  return pagesFor(RequestState::positionsAtEnd(request, *rules));
}

StatusOr<int64_t> Scheduler::submit(Request request, RequestHooks hooks) try {
  CHORUS_RETURN_IF_ERROR(check(request));
  StatusOr<StopStrings> stop = StopStrings::create(request.stop);
  CHORUS_RETURN_IF_ERROR(stop.status());
  if (int64_t pages = pagesNeeded(request);
      pages > 0 && pages > decoder.pages()->capacity())
    return limitError("N09", "key-value cache",
                      "one candidate takes " + std::to_string(pages) +
                          " pages, there are " +
                          std::to_string(decoder.pages()->capacity()));
  auto state = std::make_unique<RequestState>(nextRequest, std::move(request),
                                              std::move(hooks),
                                              std::move(*stop), *rules);
  if (!state->done()) {
    auto root = std::make_unique<Branch>(*state, decoder.newSequence());
    root->sequence.append(state->request.prompt);
    for (CandidateState &candidate : state->candidates)
      if (!candidate.finished)
        root->candidates.push_back(&candidate);
    branches.reserve(branches.size() + 1);
    requests.emplace(nextRequest, std::move(state));
    branches.push_back(std::move(root));
  } else {
    requests.emplace(nextRequest, std::move(state));
  }
  return nextRequest++;
} catch (const std::bad_alloc &) {
  return limitError("N10", "request", "out of memory");
}

RequestState *Scheduler::find(int64_t request) const {
  auto at = requests.find(request);
  return at == requests.end() ? nullptr : at->second.get();
}

GenerationProgress Scheduler::progress(int64_t request) const {
  return requests.at(request)->progress();
}

const Candidate *Scheduler::finishedCandidate(int64_t request,
                                              size_t place) const {
  const CandidateState &candidate = requests.at(request)->candidates[place];
  return candidate.finished ? &candidate.result : nullptr;
}

bool Scheduler::isFinished(int64_t request) const {
  RequestState *state = find(request);
  return state && state->done();
}

std::optional<int64_t> Scheduler::nextFinished() {
  for (auto &[number, request] : requests)
    if (request->done() && !request->reported) {
      request->reported = true;
      return number;
    }
  return std::nullopt;
}

Generation Scheduler::take(int64_t request) {
  auto at = requests.find(request);
  assert(at != requests.end() && at->second->done());
  Generation generation = std::move(at->second->generation);
  requests.erase(at);
  return generation;
}

void Scheduler::cancelAll() {
  for (auto &[number, request] : requests)
    request->cancel();
  if (!inStep)
    removeFinished();
}

void Scheduler::cancel(int64_t request) {
  if (RequestState *state = find(request))
    state->cancel();
  if (!inStep)
    removeFinished();
}

void Scheduler::cancel(int64_t request, int64_t candidate) {
  RequestState *state = find(request);
  if (!state)
    return;
  int64_t at = candidate - state->request.firstCandidate;
  if (at < 0 || at >= state->request.candidates)
    return;
  CandidateState &cancelled = state->candidates[static_cast<size_t>(at)];
  if (!cancelled.finished)
    state->finish(cancelled, FinishReason::Cancelled);
  if (!inStep)
    removeFinished();
}

/// Takes finished candidates from their branches, and branches without work
/// from the list. Needs no memory.
void Scheduler::removeFinished() {
  for (std::unique_ptr<Branch> &branch : branches) {
    std::vector<CandidateState *> &all = branch->candidates;
    all.erase(std::remove_if(all.begin(), all.end(),
                             [](CandidateState *c) { return c->finished; }),
              all.end());
    if (branch->isDone())
      branch.reset();
  }
  branches.erase(std::remove(branches.begin(), branches.end(), nullptr),
                 branches.end());
}

//===----------------------------------------------------------------------===//
// Who runs
//===----------------------------------------------------------------------===//

int64_t Scheduler::freePages() const {
  KVPool *pool = decoder.pages();
  return pool ? pool->capacity() - pool->pagesInUse() : 0;
}

void Scheduler::makeRoom(int64_t count) {
  if (prefixes && count > freePages())
    prefixes->evict(count - freePages());
}

/// Goes on with pages of the prefix cache, as far as they reach.
void Scheduler::takePrefix(Branch &branch) {
  Sequence &sequence = branch.sequence;
  if (!prefixes || !branch.prefills() || !branch.atPageBorder())
    return;
  // The rows whose logits are wanted must be computed.
  sequence.share(prefixes->find(sequence.tokens(),
                                sequence.length() - branch.outputs,
                                sequence.computed() / CHORUS_PAGE_POSITIONS));
}

/// Sets pages aside for the branch's way to its end, out of those that are
/// free and not set aside for others.
bool Scheduler::reserve(Branch &branch, int64_t &free) {
  if (const SequenceCache *cache = branch.sequence.cache()) {
    int64_t pages = cache->pagesToGrow(branch.request.positionsAtEnd());
    if (pages > free && prefixes)
      free += prefixes->evict(pages - free);
    if (pages > free)
      return false;
    free -= pages;
  }
  return true;
}

/// Branches that run go on, others join them in their order while there is room
/// in the batch and in the cache. As pages for all their ways are set aside,
/// none of them ever fails to get one. If room is missing even for the first
/// one, the others' pages make it: their tokens stay, and are computed again.
void Scheduler::chooseRunning() {
  if (branches.empty())
    return;
  int64_t room = options.maxBatch, free = freePages();
  bool enough = true;
  for (std::unique_ptr<Branch> &branch : branches)
    if (branch->running) {
      // A fork makes its branch copy a page that nobody counted.
      branch->running = reserve(*branch, free);
      enough &= branch->running;
      room -= branch->running;
    }
  for (std::unique_ptr<Branch> &branch : branches) {
    if (branch->running)
      continue;
    if (room == 0 || !enough)
      break;
    bool starts = branch->sequence.computed() == 0;
    takePrefix(*branch);
    branch->running = enough = reserve(*branch, free);
    room -= branch->running;
    if (!branch->running && starts)
      branch->sequence.releasePages();
  }
  if (room < options.maxBatch)
    return;
  Branch &first = *branches.front();
  for (size_t i = branches.size(); !first.running && --i > 0;) {
    branches[i]->sequence.releasePages();
    free = freePages();
    first.running = reserve(first, free);
  }
  assert(first.running && "submit() lets pass only what fits");
}

//===----------------------------------------------------------------------===//
// One step
//===----------------------------------------------------------------------===//

/// Whether `other`, which has rows in this step, is about to compute the page
/// that `branch` needs next, so that it can be shared.
static bool computesNextPage(const Sequence &sequence, int64_t computed,
                             int64_t last, const Sequence &other,
                             int64_t otherPrompt) {
  int64_t end = computed + CHORUS_PAGE_POSITIONS;
  return end <= last && end <= otherPrompt && other.computed() < end &&
         std::equal(sequence.tokens().begin(), sequence.tokens().begin() + end,
                    other.tokens().begin());
}

/// The rows of this step. Returns whose they are.
std::vector<Scheduler::Branch *>
Scheduler::chooseRows(std::vector<SequenceRows> &batch) {
  std::vector<Branch *> chosen, prompts;
  int64_t decodeRows = options.maxBatch, promptRows = options.prefillChunk;
  auto choose = [&](Branch &branch, int64_t rows) {
    bool ends = rows == branch.pending();
    batch.push_back({&branch.sequence, rows, ends ? branch.outputs : 0});
    chosen.push_back(&branch);
  };
  for (std::unique_ptr<Branch> &branch : branches) {
    if (!branch->running)
      continue;
    takePrefix(*branch);
    if (!branch->prefills()) {
      // Several rows where tokens are forced.
      if (branch->outputs <= decodeRows || decodeRows == options.maxBatch) {
        choose(*branch, branch->pending());
        decodeRows -= branch->outputs;
      }
      continue;
    }
    if (promptRows == 0)
      continue;
    const Sequence &sequence = branch->sequence;
    if (prefixes && branch->atPageBorder() &&
        std::any_of(prompts.begin(), prompts.end(), [&](Branch *other) {
          return computesNextPage(sequence, sequence.computed(),
                                  sequence.length() - branch->outputs,
                                  other->sequence,
                                  other->request.promptLength());
        }))
      continue;
    int64_t rows =
        branch->pending() <= promptRows
            ? branch->pending()
            : std::min(promptRows, branch->pending() - branch->outputs);
    choose(*branch, rows);
    prompts.push_back(branch.get());
    promptRows -= rows;
  }
  return chosen;
}

/// Hands pages of prompts that the step has completed to the prefix cache.
void Scheduler::keepPrefixes(const std::vector<Branch *> &chosen,
                             const std::vector<SequenceRows> &batch) {
  for (size_t i = 0; i < chosen.size(); ++i) {
    RequestState &request = chosen[i]->request;
    const Sequence &sequence = chosen[i]->sequence;
    int64_t before = sequence.computed() - batch[i].rows;
    int64_t computed = std::min(sequence.computed(), request.promptLength());
    request.promptComputed = std::max(request.promptComputed, computed);
    if (prefixes &&
        computed / CHORUS_PAGE_POSITIONS > before / CHORUS_PAGE_POSITIONS)
      prefixes->insert(sequence.tokens(), computed,
                       sequence.cache()->pageTable());
  }
}

Status Scheduler::step() try {
  struct InStep {
    explicit InStep(bool &flag) : flag(flag) { flag = true; }
    ~InStep() { flag = false; }
    bool &flag;
  } scope(inStep);

  chooseRunning();
  std::vector<SequenceRows> batch;
  std::vector<Branch *> chosen = chooseRows(batch);
  if (batch.empty())
    return Status();
  size_t vocab = static_cast<size_t>(decoder.vocabSize()), outputs = 0;
  for (const SequenceRows &part : batch)
    outputs += static_cast<size_t>(part.outputs);
  CHORUS_RETURN_IF_ERROR(
      logits.reserve(std::max<size_t>(outputs, 1) * vocab * sizeof(float)));
  logSumExp.resize(outputs);
  CHORUS_RETURN_IF_ERROR(
      decoder.step(batch, logits.as<float>(), logSumExp.data()));
  keepPrefixes(chosen, batch);

  std::vector<Branch *> ended;
  size_t row = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].outputs == 0)
      continue;
    chosen[i]->firstRow = row;
    chosen[i]->logits = logits.as<float>() + row * vocab;
    chosen[i]->logSumExp = logSumExp.data() + row;
    row += static_cast<size_t>(batch[i].outputs);
    ended.push_back(chosen[i]);
  }
  return advance(ended);
} catch (const std::bad_alloc &) {
  return limitError("N10", "scheduler", "out of memory");
}

/// Gives the candidates of branches whose rows are all computed their next
/// tokens.
Status Scheduler::advance(const std::vector<Branch *> &ended) {
  int64_t vocab = decoder.vocabSize();
  std::vector<Draw> draws;
  for (Branch *branch : ended) {
    RequestState &request = branch->request;
    int64_t last = branch->outputs - 1;
    if (branch->sequence.length() == request.promptLength())
      request.endPrompt(branch->logits, *branch->logSumExp);
    for (CandidateState *candidate : branch->candidates) {
      for (int64_t i = 0; i <= last && !candidate->finished; ++i) {
        const float *row = branch->logits + i * vocab;
        request.endToken(*candidate, row, decoder.values(),
                         branch->firstRow + static_cast<size_t>(i));
        if (candidate->finished)
          break;
        if (i == last)
          draws.push_back({branch, candidate, {}});
        else // A forced token that is in the sequence already.
          CHORUS_RETURN_IF_ERROR(request.accept(
              *candidate,
              RequestState::takeForced(*candidate, row, branch->logSumExp[i]),
              /*forced=*/true));
      }
    }
  }
  drawTokens(draws);
  // Callbacks come in rising candidate.
  std::sort(draws.begin(), draws.end(), [](const Draw &a, const Draw &b) {
    return std::pair(a.branch->request.number, a.candidate->result.index) <
           std::pair(b.branch->request.number, b.candidate->result.index);
  });
  for (const Draw &draw : draws)
    // A callback may have ended it.
    if (!draw.candidate->finished)
      CHORUS_RETURN_IF_ERROR(draw.branch->request.accept(
          *draw.candidate, located(draw), draw.forced));
  for (Branch *branch : ended)
    fork(*branch);
  insertForks();
  removeFinished();
  return Status();
}

/// The token; where the logits were not finite its error says since which
/// layer.
SampledToken Scheduler::located(const Draw &draw) const {
  SampledToken token = draw.token;
  if (token.status.code() != "N01")
    return token;
  std::string where = decoder.locateNonFinite(draw.branch->sequence);
  if (!where.empty())
    token.status = Status::error(token.status.exitCode(), token.status.code(),
                                 token.status.place(),
                                 token.status.message() + ", " + where);
  return token;
}

void Scheduler::drawTokens(std::vector<Draw> &draws) {
  auto rowOf = [&](const Draw &draw) {
    size_t last = static_cast<size_t>(draw.branch->outputs - 1);
    return std::pair(draw.branch->logits +
                         last * static_cast<size_t>(decoder.vocabSize()),
                     draw.branch->logSumExp[last]);
  };
  std::vector<Draw *> drawn;
  for (Draw &draw : draws) {
    auto [row, rowLogSumExp] = rowOf(draw);
    // Without chance, all of a branch draw the same.
    bool greedy = draw.branch->request.request.sampling.temperature == 0;
    draw.forced = !draw.candidate->forced.empty();
    if (draw.forced)
      draw.token = RequestState::takeForced(*draw.candidate, row, rowLogSumExp);
    else if (greedy && !drawn.empty() && drawn.back()->branch == draw.branch)
      draw.sameAs = drawn.back();
    else
      drawn.push_back(&draw);
  }
  threads.forEachRange(static_cast<int64_t>(drawn.size()),
                       [&](int64_t begin, int64_t end) {
                         for (int64_t i = begin; i < end; ++i) {
                           Draw &draw = *drawn[static_cast<size_t>(i)];
                           auto [row, rowLogSumExp] = rowOf(draw);
                           draw.token = draw.branch->request.draw(
                               *draw.candidate, row, rowLogSumExp, sampler);
                         }
                       });
  for (Draw &draw : draws)
    if (draw.sameAs)
      draw.token = draw.sameAs->token;
}

/// Parts the candidates of a branch by the tokens that they go on with. The
/// first ones keep the sequence.
void Scheduler::fork(Branch &branch) {
  struct Group {
    std::vector<int32_t> tokens;
    std::vector<CandidateState *> candidates;
  };
  std::vector<Group> groups;
  std::map<std::vector<int32_t>, size_t> known;
  for (CandidateState *candidate : branch.candidates) {
    if (candidate->finished)
      continue;
    std::vector<int32_t> tokens = branch.request.nextTokens(*candidate);
    auto [group, isNew] = known.try_emplace(tokens, groups.size());
    if (isNew || !options.lateFork) {
      group->second = groups.size();
      groups.push_back({std::move(tokens), {}});
    }
    groups[group->second].candidates.push_back(candidate);
  }
  for (size_t i = 1; i < groups.size(); ++i) {
    auto fork =
        std::make_unique<Branch>(branch.request, branch.sequence.fork());
    fork->goOn(groups[i].tokens, std::move(groups[i].candidates));
    branch.forks.push_back(std::move(fork));
  }
  if (!groups.empty())
    branch.goOn(groups[0].tokens, std::move(groups[0].candidates));
}

/// Puts new forks behind the branches that they left.
void Scheduler::insertForks() {
  size_t count = branches.size();
  for (const std::unique_ptr<Branch> &branch : branches)
    count += branch->forks.size();
  if (count == branches.size())
    return;
  Branches all;
  all.reserve(count);
  for (std::unique_ptr<Branch> &branch : branches) {
    Branches forks = std::move(branch->forks);
    branch->forks.clear();
    all.push_back(std::move(branch));
    std::move(forks.begin(), forks.end(), std::back_inserter(all));
  }
  branches = std::move(all);
}

} // namespace chorus::rt
