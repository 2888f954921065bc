//===- chorus-import.cpp - Model files to MLIR text -----------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Import/Import.h"
#include "chorus_rt/AtomicFile.h"
#include "chorus_rt/FileMapping.h"
#include "support/ChildProcess.h"
#include "support/ToolMain.h"

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/raw_ostream.h"

#include <filesystem>
#include <iostream>
#include <optional>

using namespace chorus;

/// Names the parameters' files relative to the folder of the text, which is
/// where a later reader looks for them.
static void renameParameterFiles(mlir::ModuleOp module,
                                 const std::string &input,
                                 const std::string &output) {
  namespace fs = std::filesystem;
  fs::path from = fs::absolute(input).parent_path();
  fs::path to =
      output.empty() ? fs::current_path() : fs::absolute(output).parent_path();
  module.walk([&](transformer::ParameterOp op) {
    fs::path file = from / op.getFile().str();
    op.setFile(file.lexically_normal()
                   .lexically_relative(to.lexically_normal())
                   .string());
  });
}

static rt::Status writeToStdout(const std::string &text) {
  std::cout << text << std::flush;
  if (std::cout)
    return {};
  return rt::ioError("W12", "stdout", "cannot be written to");
}

/// The model's graph form as text.
static rt::StatusOr<std::string> import(const tool::ModelArguments &arguments,
                                        tool::Console &console) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  rt::StatusOr<ImportedModel> model = importModel(
      arguments.input, ImportOptions{arguments.allowNonfinite}, context);
  CHORUS_RETURN_IF_ERROR(model.status());
  for (const std::string &warning : model->metadata.warnings)
    console.warning("import", warning);
  renameParameterFiles(*model->module, arguments.input, arguments.output);
  CHORUS_RETURN_IF_ERROR(model->parameters->checkUnchanged());
  std::string text;
  llvm::raw_string_ostream stream(text);
  model->module->print(stream);
  return text;
}

int main(int argc, char **argv) {
  rt::FileMapping::installFaultHandler();
  tool::ModelArguments arguments;
  int stopped = 0;
  tool::ToolDescription description;
  description.name = "chorus-import";
  description.summary =
      "Reads a model (GGUF or MLIR text) and writes its graph form as MLIR.";
  description.examples = "chorus-import model.gguf -o model.mlir\n"
                         "chorus-import model.gguf | chorus-opt";
  description.llvmVersion = LLVM_VERSION_STRING;
  int exitCode = tool::runTool(
      argc, argv, description,
      [&](CLI::App &app) {
        tool::addModelArguments(app, arguments, "stdout, as is '-'")
            ->required();
      },
      [&](tool::Console &console) -> rt::Status {
        std::string &output = arguments.output;
        if (output == "-")
          output.clear();
        std::optional<rt::AtomicFile> file;
        if (!output.empty()) {
          rt::StatusOr<rt::AtomicFile> created = rt::AtomicFile::create(output);
          CHORUS_RETURN_IF_ERROR(created.status());
          file.emplace(std::move(*created));
        }
        CHORUS_RETURN_IF_ERROR(tool::runInChild(
            {},
            [&]() -> rt::Status {
              rt::StatusOr<std::string> text = import(arguments, console);
              CHORUS_RETURN_IF_ERROR(text.status());
              if (!file)
                return writeToStdout(*text);
              CHORUS_RETURN_IF_ERROR(file->append(text->data(), text->size()));
              return file->flush();
            },
            stopped));
        return file ? file->commit() : rt::Status();
      });
  return stopped ? 128 + stopped : exitCode;
}
