//===- Output.cpp - What chorus-run prints --------------------------------===//

#include "Output.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

using namespace chorus;
using namespace chorus::run;

static rt::Status closedOutput() {
  return rt::ioError("W12", "stdout",
                     std::string("cannot write: ") + std::strerror(errno));
}

rt::Status run::print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    return closedOutput();
  return rt::Status();
}

rt::Status run::flushOutput() {
  return std::fflush(stdout) == 0 ? rt::Status() : closedOutput();
}

std::string run::joinIds(const std::vector<int32_t> &ids) {
  std::string text;
  for (int32_t id : ids)
    text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

rt::Status run::printPrompt(const rt::Prompt &prompt, bool json) {
  if (!json)
    return print(prompt.text() + "\n" + joinIds(prompt.ids) + "\n");
  std::string line = "{\"text\":";
  if (prompt.spans.empty())
    line += "null";
  else
    rt::appendJsonString(line, prompt.text());
  line += "," + rt::idsLine(prompt.ids).substr(1);
  return print(line + "\n");
}

rt::Status StreamPrinter::onToken(const rt::TokenEvent &event) {
  std::string out;
  if (json) {
    // A candidate that ended in an error has no token.
    if (event.tokenId >= 0)
      out = rt::tokenLine(event) + "\n";
  } else if (!several) {
    out = event.textDelta;
    if (event.last)
      out += '\n';
  } else {
    std::string &line = lines[event.candidate];
    line += event.textDelta;
    if (event.last)
      line += '\n';
    std::string number = "[" + std::to_string(event.candidate) + "] ";
    for (size_t end; (end = line.find('\n')) != std::string::npos;) {
      out += number + line.substr(0, end + 1);
      line.erase(0, end + 1);
    }
  }
  CHORUS_RETURN_IF_ERROR(print(out));
  return flushOutput();
}

/// ", verifier 0.8312".
static void appendScore(std::string &line, const std::string &name,
                        const std::optional<double> &score) {
  if (!score)
    return;
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", *score);
  line += ", " + name + " " + text;
}

/// "[3] rank 1, 5 votes for 18, mean logprob -0.5123, stop".
static std::string headline(const Options &options,
                            const rt::Candidate &candidate,
                            const rt::CandidateRanking &ranking) {
  std::string line = "[" + std::to_string(candidate.index) + "] rank " +
                     std::to_string(ranking.rank);
  bool votes = options.rank == "vote" || options.rank == "weighted-vote";
  if (votes && ranking.votes)
    line += ", " + std::to_string(*ranking.votes) +
            (*ranking.votes == 1 ? " vote for " : " votes for ") +
            rt::escapeForMessage(ranking.answer.value_or(""), 40);
  if (options.rank == "weighted-vote")
    appendScore(line, "weighted vote", ranking.weightedVotes);
  appendScore(line, std::string(ranking.verifierName), ranking.verifier);
  appendScore(line, "beam score", ranking.beam);
  appendScore(line, "mean logprob", ranking.meanLogprob);
  line += ", " + std::string(rt::finishReasonName(candidate.finishReason));
  if (const rt::Status &error = ranking.error; !error.ok())
    line += ", " + error.code() + ": " + error.place() + ": " + error.message();
  return line + "\n";
}

rt::Status run::printResults(const Options &options,
                             const rt::RecordContext &context,
                             const std::vector<rt::Candidate> &candidates,
                             const rt::Ranking &ranking) {
  auto rank = [&](size_t i) { return ranking.candidates[i].rank; };
  std::vector<size_t> order;
  for (size_t i = 0; i < candidates.size(); ++i)
    if (rank(i) <= options.top.value_or(INT64_MAX))
      order.push_back(i);
  if (options.json) {
    for (size_t i : order)
      CHORUS_RETURN_IF_ERROR(print(
          rt::recordLine(context, candidates[i],
                         options.ranks() ? &ranking.candidates[i] : nullptr) +
          "\n"));
    return rt::Status();
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return rank(a) < rank(b); });
  bool first = true;
  for (size_t i : order) {
    std::string out = headline(options, candidates[i], ranking.candidates[i]);
    // Streamed text has been printed already.
    if (!options.stream) {
      if (!first)
        out.insert(0, "\n");
      out += context.hasTokenizer ? candidates[i].text
                                  : joinIds(candidates[i].tokenIds);
      out += "\n";
    }
    first = false;
    CHORUS_RETURN_IF_ERROR(print(out));
  }
  return rt::Status();
}
