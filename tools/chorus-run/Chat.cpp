//===- Chat.cpp - A conversation on a terminal ----------------------------===//

#include "Chat.h"

#include "Cancellation.h"
#include "HeaderRun.h"
#include "Input.h"
#include "Output.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>

using namespace chorus;
using namespace chorus::run;

rt::Status run::chat(chorus_engine &handle, const Options &options) {
  const rt::Engine &engine = rt::engineOf(handle);
  if (!engine.tokenizer())
    return rt::unsupported("tokenizer",
                           "the model has none; --prompt-ids takes token ids");
  rt::StatusOr<std::string> source =
      chatTemplate(options, engine.program().model());
  CHORUS_RETURN_IF_ERROR(source.status());
  rt::StatusOr<rt::Request> request =
      makeRequest(options, engine.program().model().sampling);
  CHORUS_RETURN_IF_ERROR(request.status());
  request->candidates = 1;
  rt::StatusOr<nlohmann::ordered_json> tools = readTools(options);
  CHORUS_RETURN_IF_ERROR(tools.status());
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (options.system)
    messages.push_back({{"role", "system"}, {"content", *options.system}});
  while (true) {
    CHORUS_RETURN_IF_ERROR(print("> "));
    CHORUS_RETURN_IF_ERROR(flushOutput());
    std::string line;
    if (!std::getline(std::cin, line)) {
      CHORUS_RETURN_IF_ERROR(print("\n"));
      return cancellationStatus();
    }
    if (line.empty())
      continue;
    messages.push_back({{"role", "user"}, {"content", line}});
    rt::StatusOr<rt::Prompt> prompt = rt::promptFromMessages(
        *engine.tokenizer(), *source, messages, *tools, options.parseSpecial);
    CHORUS_RETURN_IF_ERROR(prompt.status());
    request->prompt = std::move(prompt->ids);
    StreamPrinter printer(/*json=*/false, /*several=*/false);
    rt::GenerationHooks hooks;
    hooks.onToken = [&](const rt::TokenEvent &event) {
      return printer.onToken(event);
    };
    hooks.shouldCancel = cancelRequested;
    rt::StatusOr<Handle<chorus_result>> result =
        runRequest(handle, *request, hooks);
    CHORUS_RETURN_IF_ERROR(result.status());
    CHORUS_RETURN_IF_ERROR(cancellationStatus());
    const rt::Candidate &answer = rt::generationOf(**result).candidates.front();
    CHORUS_RETURN_IF_ERROR(answer.error);
    messages.push_back({{"role", "assistant"}, {"content", answer.text}});
  }
}
