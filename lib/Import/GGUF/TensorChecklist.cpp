//===- TensorChecklist.cpp - Tensors a family needs and found -------------===//

#include "TensorChecklist.h"

#include "chorus/Import/GGUF/GGUFFile.h"

#include "llvm/ADT/StringExtras.h"

using namespace chorus;
using rt::Status;

static constexpr const char *code = "G22";
static constexpr size_t maxListed = 8;

static std::string shown(llvm::ArrayRef<int64_t> shape) {
  return "[" +
         llvm::join(llvm::map_range(
                        shape, [](int64_t dim) { return std::to_string(dim); }),
                    ", ") +
         "]";
}

static llvm::SmallVector<int64_t, 4> shapeOf(const gguf::Tensor &tensor) {
  llvm::SmallVector<int64_t, 4> shape;
  for (uint32_t i = tensor.numDims; i-- > 0;)
    shape.push_back(static_cast<int64_t>(tensor.dims[i]));
  return shape;
}

void TensorChecklist::List::add(std::string name) {
  if (++count <= maxListed)
    first.push_back(std::move(name));
}

/// "3 missing tensors: a, b, c".
std::string TensorChecklist::List::text(const std::string &what) const {
  std::string text =
      std::to_string(count) + " " + what + ": " + llvm::join(first, ", ");
  return count > maxListed ? text + ", .." : text;
}

TensorChecklist::TensorChecklist(const gguf::GGUFFile &file)
    : file(file), marks(file.tensors().size(), Mark::None) {}

bool TensorChecklist::has(llvm::StringRef name) const {
  return file.findTensor(name) != nullptr;
}

int64_t TensorChecklist::rowsOf(llvm::StringRef name) const {
  const gguf::Tensor *tensor = file.findTensor(name);
  return tensor ? static_cast<int64_t>(tensor->numRows()) : 0;
}

void TensorChecklist::expect(llvm::StringRef name,
                             llvm::ArrayRef<int64_t> shape) {
  const gguf::Tensor *tensor = file.findTensor(name);
  if (!tensor) {
    missing.add(name.str());
    return;
  }
  marks[tensor - file.tensors().data()] = Mark::Used;
  llvm::SmallVector<int64_t, 4> found = shapeOf(*tensor);
  if (llvm::ArrayRef<int64_t>(found) != shape)
    misshapen.add(name.str() + " " + shown(found) + ", needed is " +
                  shown(shape));
  const gguf::TensorTypeInfo &type = gguf::tensorTypeInfo(tensor->type);
  if (!type.supported && firstUnsupported.ok())
    firstUnsupported = rt::unsupported(
        file.placeOf(*tensor), std::string("tensor type ") + type.name +
                                   " is not supported yet; supported are " +
                                   gguf::supportedTensorTypes());
}

void TensorChecklist::matrix(llvm::StringRef name, int64_t rows,
                             int64_t columns) {
  expect(name, {rows, columns});
}

void TensorChecklist::vector(llvm::StringRef name, int64_t elements) {
  expect(name, {elements});
  const gguf::Tensor *tensor = file.findTensor(name);
  if (tensor && tensor->type != gguf::TensorType::F32 && firstUnsupported.ok())
    firstUnsupported = rt::unsupported(
        file.placeOf(*tensor), std::string("a vector of type ") +
                                   gguf::tensorTypeInfo(tensor->type).name +
                                   " is not supported yet; supported is F32");
}

void TensorChecklist::ignore(
    llvm::function_ref<bool(llvm::StringRef)> matches) {
  for (size_t i = 0; i < marks.size(); ++i)
    if (marks[i] == Mark::None && matches(file.tensors()[i].name))
      marks[i] = Mark::Ignored;
}

void TensorChecklist::refuseFeature(
    llvm::StringRef feature,
    llvm::function_ref<bool(llvm::StringRef)> matches) {
  for (size_t i = 0; i < marks.size(); ++i) {
    const gguf::Tensor &tensor = file.tensors()[i];
    if (marks[i] != Mark::None || !matches(tensor.name))
      continue;
    marks[i] = Mark::Feature;
    if (firstUnsupported.ok())
      firstUnsupported = rt::unsupported(
          file.placeOf(tensor), feature.str() + " are not supported yet");
  }
}

Status TensorChecklist::checkLayerCount(llvm::StringRef prefix,
                                        int64_t layers) const {
  if (layers <= static_cast<int64_t>(marks.size()))
    return {};
  std::string last = prefix.str() + std::to_string(layers - 1);
  return rt::refused(code, file.name(),
                     std::to_string(layers) + " layers, up to " + last +
                         ", cannot be among " + std::to_string(marks.size()) +
                         " tensors");
}

Status TensorChecklist::finish() const {
  List unknown;
  for (size_t i = 0; i < marks.size(); ++i)
    if (marks[i] == Mark::None)
      unknown.add(rt::escapeForMessage(file.tensors()[i].name));
  if (missing.count != 0)
    return rt::refused(code, file.name(), missing.text("missing tensors"));
  if (misshapen.count != 0)
    return rt::refused(code, file.name(),
                       misshapen.text("tensors of another shape"));
  if (unknown.count != 0)
    return rt::refused(code, file.name(), unknown.text("unknown tensors"));
  return firstUnsupported;
}

std::vector<const gguf::Tensor *> TensorChecklist::used() const {
  std::vector<const gguf::Tensor *> tensors;
  for (size_t i = 0; i < marks.size(); ++i)
    if (marks[i] == Mark::Used)
      tensors.push_back(&file.tensors()[i]);
  return tensors;
}
