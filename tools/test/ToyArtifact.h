//===- ToyArtifact.h - The artifact that tools run in tests -----*- C++ -*-===//

#ifndef CHORUS_TOOLS_TEST_TOYARTIFACT_H
#define CHORUS_TOOLS_TEST_TOYARTIFACT_H

#include <cstdint>
#include <string>

namespace chorus::test {

/// Variants of the toy model.
struct ToyOptions {
  /// A stateless entry "main" instead of the step entry.
  bool reference = false;
  bool tokenizer = true;
  /// The model judges its own candidates: toyJudgeTemplate, toyScore.
  bool verifier = false;
  /// A value head of the logit of the token 'y': toyGain, toyBias.
  bool valueHead = false;
  /// What the artifact says of its products' width.
  uint32_t dFF = 1;
};

inline constexpr const char *toyJudgeTemplate =
    "<|im_start|>{{ question }}\n{{ candidate }}<|im_end|>"
    "{% if judge %}{{ judge }}{% endif %}";
inline constexpr const char *toyScore = "p(\"y\") / (p(\"y\") + p(\"n\"))";

inline constexpr float toyGain = -2, toyBias = 0.75;

/// Writes the artifact; ends the process with a message if it can't.
void writeToyArtifact(const std::string &path, const ToyOptions &options = {});

/// The path of such an artifact in the temporary folder; each is written once.
std::string toyArtifact(const ToyOptions &options = {});

} // namespace chorus::test

#endif // CHORUS_TOOLS_TEST_TOYARTIFACT_H
