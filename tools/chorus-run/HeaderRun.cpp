//===- HeaderRun.cpp - A request run through chorus.h ---------------------===//

#include "HeaderRun.h"

using namespace chorus;
using namespace chorus::run;

namespace {

/// A request as the header has it. Its arrays are here and in `from`, which
/// outlives it.
class HeaderRequest {
public:
  HeaderRequest(chorus_engine &engine, const rt::Request &from) {
    const rt::SamplingParameters &sampling = from.sampling;
    for (const std::string &text : from.stop)
      stop.push_back({text.data(), text.size()});
    for (auto [token, bias] : sampling.logitBias)
      biases.push_back({token, bias});
    chorus_request_init(&engine, &request);
    request.id = from.id.c_str();
    request.prompt_ids = from.prompt.data();
    request.prompt_length = from.prompt.size();
    request.first_candidate = from.firstCandidate;
    request.candidates = from.candidates;
    request.max_tokens = from.maxTokens;
    request.min_tokens = sampling.minTokens;
    request.seed = sampling.seed;
    request.temperature = sampling.temperature;
    request.top_k = sampling.topK;
    request.top_p = sampling.topP;
    request.min_p = sampling.minP;
    request.repetition_penalty = sampling.repetitionPenalty;
    request.presence_penalty = sampling.presencePenalty;
    request.frequency_penalty = sampling.frequencyPenalty;
    request.logit_bias = biases.data();
    request.logit_bias_count = biases.size();
    request.allowed_tokens = sampling.allowedTokens.data();
    request.allowed_count = sampling.allowedTokens.size();
    request.stop = stop.data();
    request.stop_count = stop.size();
    request.ignore_eos = from.ignoreEos;
    request.calculator = from.calculator;
    request.values = from.values;
  }

  const chorus_request *get() const { return &request; }

private:
  std::vector<chorus_text> stop;
  std::vector<chorus_logit_bias> biases;
  chorus_request request;
};

/// What the token callback works with.
struct TokenReceiver {
  const rt::TokenCallback &onToken;
  rt::Status failure;

  static int receive(void *user, const chorus_token *token) {
    auto &self = *static_cast<TokenReceiver *>(user);
    rt::TokenEvent event;
    event.candidate = token->candidate;
    event.tokenId = token->id;
    event.logprob = token->logprob;
    event.forced = token->forced != 0;
    event.textDelta = {token->text, token->text_length};
    event.last = token->last != 0;
    self.failure = self.onToken(event);
    return static_cast<int>(self.failure.exitCode());
  }
};

} // namespace

static rt::Status statusOf(const chorus_error &error) {
  return rt::Status::error(static_cast<rt::ExitCode>(error.exit_code),
                           error.code, "", error.message);
}

rt::StatusOr<Handle<chorus_result>>
run::runRequest(chorus_engine &engine, const rt::Request &request,
                const rt::GenerationHooks &hooks) {
  TokenReceiver receiver{hooks.onToken, {}};
  chorus_callbacks callbacks{};
  callbacks.size = sizeof callbacks;
  callbacks.user = &receiver;
  if (hooks.onToken)
    callbacks.on_token = TokenReceiver::receive;
  chorus_error error;
  int64_t number;
  if (chorus_submit(&engine, HeaderRequest(engine, request).get(), &callbacks,
                    &number, &error))
    return statusOf(error);
  while (!chorus_idle(&engine)) {
    if (hooks.shouldCancel && hooks.shouldCancel())
      chorus_cancel(&engine, number, /*candidate=*/-1);
    else if (chorus_step(&engine, &error))
      return receiver.failure.ok() ? statusOf(error) : receiver.failure;
    if (hooks.onStep && !chorus_idle(&engine)) {
      chorus_progress progress;
      chorus_get_progress(&engine, number, &progress);
      hooks.onStep({progress.prompt_tokens, progress.prompt_computed,
                    progress.tokens, progress.finished, progress.candidates});
    }
  }
  Handle<chorus_result> result(chorus_take(&engine, number),
                               chorus_result_free);
  if (!result)
    return rt::limitError("N10", "", "out of memory");
  return result;
}

rt::StatusOr<Handle<chorus_ranker>>
run::createRanker(chorus_engine &engine, const chorus_rank_options &options) {
  chorus_error error;
  chorus_ranker *ranker;
  if (chorus_ranker_create(&engine, &options, &ranker, &error))
    return statusOf(error);
  return Handle<chorus_ranker>(ranker, chorus_ranker_free);
}

rt::Status run::rank(chorus_ranker &ranker, chorus_result &result,
                     const std::string *messages) {
  chorus_error error;
  if (chorus_rank(&ranker, &result, messages ? messages->data() : nullptr,
                  messages ? messages->size() : 0, &error))
    return statusOf(error);
  return rt::Status();
}
