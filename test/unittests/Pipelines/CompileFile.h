//===- CompileFile.h - A model file as an artifact, for tests ---*- C++ -*-===//

#ifndef CHORUS_TEST_UNITTESTS_PIPELINES_COMPILEFILE_H
#define CHORUS_TEST_UNITTESTS_PIPELINES_COMPILEFILE_H

#include "chorus/Pipelines/Compile.h"
#include "chorus_rt/Artifact.h"

#include "mlir/IR/MLIRContext.h"

#include <memory>
#include <string>

namespace chorus::test {

/// Compiles the model at `source` with the default options and opens the
/// artifact, which is written to `target`.
inline rt::StatusOr<std::shared_ptr<const rt::Artifact>>
compileFile(const std::string &source, const std::string &target) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  rt::StatusOr<ImportedModel> model = importModel(source, {}, context);
  CHORUS_RETURN_IF_ERROR(model.status());
  rt::StatusOr<ArtifactWriter> writer = ArtifactWriter::create(target);
  CHORUS_RETURN_IF_ERROR(writer.status());
  CompileOptions options;
  ArtifactCompiler compiler(options, *writer);
  CHORUS_RETURN_IF_ERROR(compiler.add(*model));
  CHORUS_RETURN_IF_ERROR(compiler.finish());
  CHORUS_RETURN_IF_ERROR(writer->commit());
  return rt::Artifact::open(target);
}

} // namespace chorus::test

#endif // CHORUS_TEST_UNITTESTS_PIPELINES_COMPILEFILE_H
