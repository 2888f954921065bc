//===- Describe.h - What chorus-inspect prints ------------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_INSPECT_DESCRIBE_H
#define CHORUS_TOOLS_INSPECT_DESCRIBE_H

#include "TokenizerSummary.h"

#include <optional>
#include <string>
#include <vector>

namespace chorus::inspect {

/// "weights", "code", "tokenizer", or the number of an unknown kind.
std::string segmentKindName(rt::SegmentKind kind);

/// All of the metadata as text for people or as one JSON object; both end in a
/// newline. `tokenizers`: one for each model.
std::string
describeText(const rt::Artifact &artifact,
             const std::vector<std::optional<TokenizerSummary>> &tokenizers);
std::string
describeJson(const rt::Artifact &artifact,
             const std::vector<std::optional<TokenizerSummary>> &tokenizers);

} // namespace chorus::inspect

#endif // CHORUS_TOOLS_INSPECT_DESCRIBE_H
