//===- TensorChecklist.h - Tensors a family needs and found -----*- C++ -*-===//
//
// A family names every tensor that it uses with its shape; what is missing,
// unknown or of another shape is refused with row G22, what has a type that is
// not built with `unsupported`.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_IMPORT_GGUF_TENSORCHECKLIST_H
#define CHORUS_LIB_IMPORT_GGUF_TENSORCHECKLIST_H

#include "chorus_rt/Status.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>
#include <vector>

namespace chorus {

namespace gguf {
class GGUFFile;
struct Tensor;
} // namespace gguf

/// Shapes are row-major: [rows, columns].
class TensorChecklist {
public:
  explicit TensorChecklist(const gguf::GGUFFile &file);

  bool has(llvm::StringRef name) const;
  /// The first dimension of a matrix, 0 if there is no such tensor.
  int64_t rowsOf(llvm::StringRef name) const;

  /// A weight [rows, columns] of any supported type.
  void matrix(llvm::StringRef name, int64_t rows, int64_t columns);
  /// An f32 vector.
  void vector(llvm::StringRef name, int64_t elements);
  /// Tensors that may be there and are not used.
  void ignore(llvm::function_ref<bool(llvm::StringRef)> matches);
  /// Tensors that belong to a feature that is valid but not built.
  void refuseFeature(llvm::StringRef feature,
                     llvm::function_ref<bool(llvm::StringRef)> matches);

  /// Refuses more layers than the file can hold, before they are listed.
  /// Tensors of layers begin with `prefix`.
  rt::Status checkLayerCount(llvm::StringRef prefix, int64_t layers) const;

  /// The verdict; call after everything was named. Each list in a message has
  /// up to 8 names and a count.
  rt::Status finish() const;

  /// The tensors that were named and found, in the order of the file.
  std::vector<const gguf::Tensor *> used() const;

private:
  enum class Mark : uint8_t { None, Used, Ignored, Feature };

  void expect(llvm::StringRef name, llvm::ArrayRef<int64_t> shape);

  const gguf::GGUFFile &file;
  std::vector<Mark> marks; // One for each of the file's tensors.
  /// The first few names and how many there are.
  struct List {
    std::vector<std::string> first;
    size_t count = 0;
    void add(std::string name);
    std::string text(const std::string &what) const;
  };
  List missing, misshapen;
  rt::Status firstUnsupported;
};

} // namespace chorus

#endif // CHORUS_LIB_IMPORT_GGUF_TENSORCHECKLIST_H
