//===- Input.h - What chorus-run reads --------------------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_INPUT_H
#define CHORUS_TOOLS_CHORUS_RUN_INPUT_H

#include "Options.h"

#include "chorus_rt/Prompt.h"
#include "chorus_rt/Tokenizer.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace chorus::run {

/// Reads a whole text file, "-" for stdin. T08 (exit 4) beyond `maxBytes`.
rt::StatusOr<std::string> readText(const std::string &path, size_t maxBytes);

/// Parses "1,2,3".
rt::StatusOr<std::vector<int32_t>> parseIds(std::string_view text);

/// The chat template's source: --template, else the model's. Error
/// `unsupported` if there is neither.
rt::StatusOr<std::string> chatTemplate(const Options &options,
                                       const rt::ModelInfo &model);

/// What --tools gives; null without.
rt::StatusOr<nlohmann::ordered_json> readTools(const Options &options);

/// The prompt that the options give. `tokenizer` may be null for --prompt-ids.
/// `messages` becomes what a verifier sees of it: the chat's messages, or the
/// text as a message of the user; an empty array where there are only ids.
rt::StatusOr<rt::Prompt> makePrompt(const Options &options,
                                    const rt::ModelInfo &model,
                                    const rt::Tokenizer *tokenizer,
                                    nlohmann::ordered_json &messages);

/// --tokenize-file: prints the ids of each line.
rt::Status tokenizeFile(const Options &options, const rt::Tokenizer &tokenizer);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_INPUT_H
