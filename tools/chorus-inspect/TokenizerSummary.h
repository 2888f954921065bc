//===- TokenizerSummary.h - Facts of a tokenizer segment --------*- C++ -*-===//

#ifndef CHORUS_TOOLS_INSPECT_TOKENIZERSUMMARY_H
#define CHORUS_TOOLS_INSPECT_TOKENIZERSUMMARY_H

#include "chorus_rt/Artifact.h"

#include <optional>
#include <string>

namespace chorus::inspect {

struct TokenizerSummary {
  std::string pre; ///< Pre-tokeniser.
  uint64_t tokens = 0, merges = 0;
  int32_t bosId = -1, eosId = -1, unknownId = -1, paddingId = -1;
  bool addBos = false, addEos = false;
};

/// Facts of the model's tokenizer, nothing if it has none. A04 if the segment
/// is damaged.
rt::StatusOr<std::optional<TokenizerSummary>>
summarizeTokenizer(const rt::Artifact &artifact, const rt::ModelInfo &model);

} // namespace chorus::inspect

#endif // CHORUS_TOOLS_INSPECT_TOKENIZERSUMMARY_H
