//===- TokenizerSummary.cpp - Facts of a tokenizer segment ----------------===//

#include "TokenizerSummary.h"

#include "chorus_rt/schema/tokenizer_generated.h"

using namespace chorus;
using namespace chorus::inspect;

rt::StatusOr<std::optional<TokenizerSummary>>
inspect::summarizeTokenizer(const rt::Artifact &artifact,
                            const rt::ModelInfo &model) {
  std::optional<TokenizerSummary> summary;
  if (!model.tokenizerSegment)
    return summary;
  uint32_t segment = *model.tokenizerSegment;
  flatbuffers::Verifier verifier(artifact.segmentData(segment),
                                 artifact.segmentSize(segment));
  if (!artifact::VerifyTokenizerBuffer(verifier))
    return rt::refused("A04",
                       rt::escapeForMessage(artifact.path(), 200) +
                           ": segments[" + std::to_string(segment) + "]",
                       "not a well-formed tokenizer");
  const artifact::Tokenizer &tables =
      *artifact::GetTokenizer(artifact.segmentData(segment));
  summary.emplace();
  if (tables.pre())
    summary->pre = tables.pre()->str();
  if (tables.kinds())
    summary->tokens = tables.kinds()->size();
  if (tables.merges())
    summary->merges = tables.merges()->size() / 3;
  summary->bosId = tables.bos_id();
  summary->eosId = tables.eos_id();
  summary->unknownId = tables.unk_id();
  summary->paddingId = tables.pad_id();
  summary->addBos = tables.add_bos();
  summary->addEos = tables.add_eos();
  return summary;
}
