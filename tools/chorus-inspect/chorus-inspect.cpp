//===- chorus-inspect.cpp - Says what an artifact holds -------------------===//

#include "Describe.h"
#include "chorus_rt/Program.h"
#include "chorus_rt/Tokenizer.h"
#include "support/ToolMain.h"

#include <cstdio>

using namespace chorus;

namespace {

struct Options {
  std::string path;
  bool json = false;
  bool verify = false;
};

/// What opening does not check: code of all targets and tokenizers.
rt::Status verifyContents(const rt::Artifact &artifact) {
  CHORUS_RETURN_IF_ERROR(rt::verifyCode(artifact));
  for (const rt::ModelInfo &model : artifact.models()) {
    if (!model.tokenizerSegment)
      continue;
    uint32_t segment = *model.tokenizerSegment;
    auto tokenizer = rt::Tokenizer::create(artifact.segmentBytes(segment));
    if (tokenizer.ok())
      continue;
    const rt::Status &status = tokenizer.status();
    std::string place = rt::escapeForMessage(artifact.path(), 200) +
                        ": segments[" + std::to_string(segment) + "]";
    if (!status.place().empty())
      place += ": " + status.place();
    return rt::Status::error(status.exitCode(), status.code(), place,
                             status.message());
  }
  return rt::Status();
}

std::string verifiedText(const rt::Artifact &artifact) {
  size_t codes = 0, tokenizers = 0;
  for (const rt::ModelInfo &model : artifact.models()) {
    codes += model.codes.size();
    tokenizers += model.tokenizerSegment ? 1 : 0;
  }
  return "verified: header, metadata, " +
         std::to_string(artifact.metadata().segments.size()) +
         " segments, code for " + std::to_string(codes) + " targets, " +
         std::to_string(tokenizers) + " tokenizers\n";
}

rt::Status run(const Options &options) {
  auto artifact = rt::Artifact::open(options.path);
  if (!artifact.ok())
    return artifact.status();
  if (options.verify)
    CHORUS_RETURN_IF_ERROR(verifyContents(**artifact));
  std::vector<std::optional<inspect::TokenizerSummary>> tokenizers;
  for (const rt::ModelInfo &model : (*artifact)->models()) {
    auto summary = inspect::summarizeTokenizer(**artifact, model);
    if (!summary.ok())
      return summary.status();
    tokenizers.push_back(*summary);
  }
  std::string text = options.json
                         ? inspect::describeJson(**artifact, tokenizers)
                         : inspect::describeText(**artifact, tokenizers);
  if (options.verify && !options.json)
    text += "\n" + verifiedText(**artifact);
  std::fputs(text.c_str(), stdout);
  return rt::Status();
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  tool::ToolDescription description;
  description.name = "chorus-inspect";
  description.summary =
      "Verifies a .chorus file and says what it holds: models, entries, "
      "states, code, segments and hashes.";
  description.examples = "  chorus-inspect smollm2.chorus\n"
                         "  chorus-inspect smollm2.chorus --json | jq .models";
  return tool::runTool(
      argc, argv, description,
      [&](CLI::App &app) {
        app.add_option("ARTIFACT", options.path, "The .chorus file")
            ->required()
            ->check(tool::readablePath());
        app.add_flag("--json", options.json, "One JSON object on stdout");
        app.add_flag("--verify", options.verify,
                     "Also verify the code of all targets and the tokenizers; "
                     "structure and hashes always are");
      },
      [&](tool::Console &) {
        rt::FileMapping::installFaultHandler();
        return run(options);
      });
}
