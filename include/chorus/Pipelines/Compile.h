//===- Compile.h - An imported model to an artifact -------------*- C++ -*-===//

#ifndef CHORUS_PIPELINES_COMPILE_H
#define CHORUS_PIPELINES_COMPILE_H

#include "chorus/Import/Import.h"
#include "chorus/Package/ArtifactWriter.h"
#include "chorus/Pipelines/Pipelines.h"
#include "chorus/Pipelines/ValueHead.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace chorus {

struct CompileOptions {
  NumericOptions numeric;
  /// Compile every op through its decomposition (slow; for comparison).
  bool reference = false;
  /// Let kernels add in the order that suits their shape. The numeric contract
  /// does not hold then; for measuring what it costs.
  bool orderFree = false;
  /// Called when a part of the work starts, with a few words for people.
  std::function<void(const std::string &)> progress = [](const std::string &) {
  };
};

/// The phase names that stopAfter() accepts, in order.
std::vector<std::string> stoppablePhases();

/// Runs the compiler up to the form `phase` and returns it as MLIR text.
rt::StatusOr<std::string> stopAfter(ImportedModel &model,
                                    const CompileOptions &options,
                                    const std::string &phase);

/// A verifier that reads a template; the artifact's schema says more.
struct VerifierSpec {
  bool isGenerator = false; ///< Else it is the second model.
  std::string templateText, score;
};

/// How an artifact's candidates are scored: by one of the two, or not at all.
struct ScoringSpec {
  std::optional<VerifierSpec> verifier;
  std::optional<ValueHead> valueHead; ///< Of the first model.
};

/// Compiles models into one artifact.
class ArtifactCompiler {
public:
  /// Both outlive the compiler.
  ArtifactCompiler(const CompileOptions &options, ArtifactWriter &writer);
  ~ArtifactCompiler();

  /// Compiles `model`, whose module is used up. Exit code 3, code
  /// `unsupported`, where it needs something that no pass or kernel can do,
  /// naming the op and its place.
  rt::Status add(ImportedModel &model);

  /// Writes the metadata: `writer` is finished, but not committed.
  rt::Status finish(const ScoringSpec &spec = {});

private:
  struct Model;
  const CompileOptions &options;
  ArtifactWriter &writer;
  std::vector<Model> models;
};

} // namespace chorus

#endif // CHORUS_PIPELINES_COMPILE_H
