//===- chorus-opt.cpp - Run Chorus's and upstream's passes ----------------===//

#include "chorus/Conversion/Passes.h"
#include "chorus/Dialect/Transformer/TransformerDialect.h"
#include "chorus/Pipelines/Pipelines.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::registerAllPasses();
  chorus::registerChorusTransformsPasses();
  chorus::registerChorusConversionPasses();
  chorus::registerPipelines();
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<chorus::transformer::TransformerDialect>();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Chorus optimizer driver\n", registry));
}
