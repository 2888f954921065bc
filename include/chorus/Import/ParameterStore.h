//===- ParameterStore.h - Parameters to mapped bytes ------------*- C++ -*-===//
//
// `transformer.parameter` names a tensor by file and name. The store opens each
// file once, keeps it mapped, and answers with type, shape and bytes; nothing
// is copied.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_IMPORT_PARAMETERSTORE_H
#define CHORUS_IMPORT_PARAMETERSTORE_H

#include "chorus_rt/Status.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Types.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace chorus {

namespace gguf {
class GGUFFile;
} // namespace gguf
namespace rt {
class SafetensorsFile;
} // namespace rt
namespace transformer {
class ParameterOp;
} // namespace transformer

/// A tensor of a source file. `bytes` live as long as the store and have no
/// alignment: read them with memcpy.
struct ParameterView {
  /// f32, f16, bf16, a block type of the dialect, or another type of
  /// safetensors as MLIR names it.
  mlir::Type elementType;
  /// Row-major: the last dimension is contiguous.
  llvm::SmallVector<int64_t, 4> shape;
  llvm::ArrayRef<uint8_t> bytes;
};

/// Not thread safe; views may be read from several threads.
class ParameterStore {
public:
  /// File names are relative to `baseDirectory` ("" is the working directory).
  explicit ParameterStore(std::string baseDirectory);
  ~ParameterStore();
  ParameterStore(const ParameterStore &) = delete;
  ParameterStore &operator=(const ParameterStore &) = delete;

  /// Opens a GGUF file, or returns it if it is open; the store owns it.
  rt::StatusOr<const gguf::GGUFFile *> openGGUF(llvm::StringRef fileName);

  /// Gives a file that is open to the store, under a name that no other has.
  void add(llvm::StringRef fileName, rt::SafetensorsFile file);

  /// The tensor `tensorName` of the GGUF or safetensors file `fileName`, which
  /// is opened at its first use. Errors: those of the file's reader (G, S);
  /// exit 5 if a file cannot be opened; `G22` or `S06` if it has no such
  /// tensor or one of a type that no parameter can have.
  rt::StatusOr<ParameterView> find(llvm::StringRef fileName,
                                   llvm::StringRef tensorName,
                                   mlir::MLIRContext &context);

  /// The tensor that `op` names for `layer` (0 for an op without layers),
  /// compared with the op's type: G22, with found and needed type, where they
  /// differ. A tensor in blocks may also be viewed as its bytes:
  /// `[.., K / 32, bytes of a block]` of i8, and a vector as a matrix of one
  /// row.
  rt::StatusOr<ParameterView> resolve(transformer::ParameterOp op,
                                      size_t layer = 0);

  /// `resolve` for every layer of every parameter of the module. Refuses NaN
  /// and infinities (G23) unless `allowNonfinite`.
  rt::Status checkParameters(mlir::ModuleOp module, bool allowNonfinite);

  /// Refuses NaN and infinities (G23) in a tensor that `find` has found.
  rt::Status checkFinite(llvm::StringRef fileName, llvm::StringRef tensorName);

  /// Values of all tensors that the module's parameters name, each counted
  /// once. All parameters must resolve.
  uint64_t countValues(mlir::ModuleOp module);

  /// Gives back the memory of bytes that were read; they may be read again.
  void release(llvm::ArrayRef<uint8_t> bytes) const;

  /// Refuses with G26 if a file that is open has changed since.
  rt::Status checkUnchanged() const;

private:
  struct File;

  rt::StatusOr<File *> open(llvm::StringRef fileName);

  std::string baseDirectory;
  std::map<std::string, std::unique_ptr<File>, std::less<>> files;
};

/// "f32 [64, 96]", for messages.
std::string describeTensor(mlir::Type elementType,
                           llvm::ArrayRef<int64_t> shape);

} // namespace chorus

#endif // CHORUS_IMPORT_PARAMETERSTORE_H
