//===- ParameterStore.cpp - Parameters to mapped bytes --------------------===//

#include "chorus/Import/ParameterStore.h"

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Import/GGUF/FiniteCheck.h"
#include "chorus/Import/GGUF/GGUFFile.h"
#include "chorus_rt/Safetensors.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <optional>

using namespace chorus;
using namespace mlir;
using chorus::gguf::GGUFFile;
using rt::Status;
using rt::StatusOr;

/// One open file, of either format.
struct ParameterStore::File {
  std::unique_ptr<GGUFFile> gguf;
  std::unique_ptr<rt::SafetensorsFile> safetensors;

  const rt::FileMapping *mapping() const {
    return gguf ? gguf->mapping() : safetensors->mapping();
  }
};

/// Type of a GGUF tensor's elements, null if no parameter can have it.
static Type elementTypeOf(gguf::TensorType type, MLIRContext &context) {
  switch (type) {
  case gguf::TensorType::F32:
    return Float32Type::get(&context);
  case gguf::TensorType::F16:
    return Float16Type::get(&context);
  case gguf::TensorType::BF16:
    return BFloat16Type::get(&context);
  case gguf::TensorType::Q8_0:
    return transformer::Q8_0Type::get(&context);
  case gguf::TensorType::Q4_0:
    return transformer::Q4_0Type::get(&context);
  case gguf::TensorType::Q4_1:
    return transformer::Q4_1Type::get(&context);
  default:
    return {};
  }
}

static Type elementTypeOf(rt::SafetensorsDtype dtype, MLIRContext &context) {
  switch (dtype) {
  case rt::SafetensorsDtype::F32:
    return Float32Type::get(&context);
  case rt::SafetensorsDtype::F16:
    return Float16Type::get(&context);
  case rt::SafetensorsDtype::BF16:
    return BFloat16Type::get(&context);
  default:
    return {};
  }
}

std::string chorus::describeTensor(Type elementType, ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << elementType << " [";
  llvm::interleaveComma(shape, stream);
  stream << "]";
  return text;
}

ParameterStore::ParameterStore(std::string baseDirectory)
    : baseDirectory(std::move(baseDirectory)) {}
ParameterStore::~ParameterStore() = default;

/// A file that is named by another file, not by the command line, is no usage
/// error.
static Status asLaterFailure(const Status &status) {
  if (status.exitCode() != rt::ExitCode::Usage)
    return status;
  return rt::ioError("io", status.place(), status.message());
}

StatusOr<const GGUFFile *> ParameterStore::openGGUF(StringRef fileName) {
  auto found = files.find(fileName);
  if (found == files.end()) {
    StatusOr<GGUFFile> opened = GGUFFile::open(baseDirectory + fileName.str());
    CHORUS_RETURN_IF_ERROR(opened.status());
    auto file = std::make_unique<File>();
    file->gguf = std::make_unique<GGUFFile>(std::move(*opened));
    found = files.try_emplace(fileName.str(), std::move(file)).first;
  }
  assert(found->second->gguf && "the file is open as another format");
  return found->second->gguf.get();
}

void ParameterStore::add(StringRef fileName, rt::SafetensorsFile given) {
  auto file = std::make_unique<File>();
  file->safetensors = std::make_unique<rt::SafetensorsFile>(std::move(given));
  bool isNew = files.try_emplace(fileName.str(), std::move(file)).second;
  assert(isNew && "a file of that name is open");
  (void)isNew;
}

StatusOr<ParameterStore::File *> ParameterStore::open(StringRef fileName) {
  auto found = files.find(fileName);
  if (found != files.end())
    return found->second.get();
  std::string shown = rt::escapeForMessage(fileName, 200);
  if (fileName.empty() || fileName.starts_with("/") || fileName.contains('\0'))
    return rt::refused("M06", "'" + shown + "'",
                       "a parameter's file is named relative to the module's "
                       "own folder");
  auto file = std::make_unique<File>();
  std::string path = baseDirectory + fileName.str();
  // The name says the format; the reader says what the content looks like.
  if (fileName.ends_with(".safetensors")) {
    StatusOr<rt::SafetensorsFile> opened = rt::SafetensorsFile::open(path);
    if (!opened.ok())
      return asLaterFailure(opened.status());
    file->safetensors =
        std::make_unique<rt::SafetensorsFile>(std::move(*opened));
  } else {
    StatusOr<GGUFFile> opened = GGUFFile::open(path);
    if (!opened.ok())
      return asLaterFailure(opened.status());
    file->gguf = std::make_unique<GGUFFile>(std::move(*opened));
  }
  return files.try_emplace(fileName.str(), std::move(file)).first->second.get();
}

static std::string placeOf(StringRef fileName, StringRef tensorName) {
  return rt::escapeForMessage(fileName, 200) + ": tensor '" +
         rt::escapeForMessage(tensorName) + "'";
}

StatusOr<ParameterView> ParameterStore::find(StringRef fileName,
                                             StringRef tensorName,
                                             MLIRContext &context) {
  StatusOr<File *> file = open(fileName);
  CHORUS_RETURN_IF_ERROR(file.status());
  ParameterView view;
  std::string place = placeOf(fileName, tensorName);
  if ((*file)->gguf) {
    const gguf::Tensor *tensor = (*file)->gguf->findTensor(tensorName);
    if (!tensor)
      return rt::refused("G22", place, "is missing");
    view.elementType = elementTypeOf(tensor->type, context);
    if (!view.elementType)
      return rt::unsupported(place,
                             std::string("type ") +
                                 gguf::tensorTypeInfo(tensor->type).name +
                                 " is not supported yet; supported are " +
                                 gguf::supportedTensorTypes());
    for (uint32_t i = tensor->numDims; i-- > 0;)
      view.shape.push_back(static_cast<int64_t>(tensor->dims[i]));
    view.bytes = {tensor->data, tensor->sizeBytes};
    return view;
  }
  const rt::SafetensorsTensor *tensor = (*file)->safetensors->find(tensorName);
  if (!tensor)
    return rt::refused("G22", place, "is missing");
  view.elementType = elementTypeOf(tensor->dtype, context);
  if (!view.elementType)
    return rt::unsupported(
        place, std::string("dtype ") + rt::safetensorsDtypeName(tensor->dtype) +
                   " is no type of a parameter; supported are F32, "
                   "F16, BF16");
  view.shape.assign(tensor->shape.begin(), tensor->shape.end());
  view.bytes = {tensor->data, tensor->sizeBytes};
  return view;
}

/// Whether a module may give the tensor that type.
static bool fits(const ParameterView &view, RankedTensorType type) {
  if (type.getElementType() == view.elementType)
    return type.getShape() == ArrayRef<int64_t>(view.shape) ||
           (view.shape.size() == 1 && type.getRank() == 2 &&
            type.getDimSize(0) == 1 && type.getDimSize(1) == view.shape[0]);
  std::optional<transformer::BlockFormat> format =
      transformer::getBlockFormat(view.elementType);
  if (!format || !type.getElementType().isInteger(8))
    return false;
  SmallVector<int64_t, 4> asBytes = view.shape;
  asBytes.back() /= transformer::blockSize;
  asBytes.push_back(format->sourceBytes);
  return type.getShape() == ArrayRef<int64_t>(asBytes);
}

StatusOr<ParameterView> ParameterStore::resolve(transformer::ParameterOp op,
                                                size_t layer) {
  StringRef tensorName = cast<StringAttr>(op.getNames()[layer]).getValue();
  StatusOr<ParameterView> view =
      find(op.getFile(), tensorName, *op.getContext());
  CHORUS_RETURN_IF_ERROR(view.status());
  auto type = cast<RankedTensorType>(op.getResult().getType());
  if (!fits(*view, type))
    return rt::refused(
        "G22", placeOf(op.getFile(), tensorName),
        "found " + describeTensor(view->elementType, view->shape) +
            ", needed is " +
            describeTensor(type.getElementType(), type.getShape()) +
            " (the type of the parameter)");
  return view;
}

/// Calls `visit` with each pair of file and tensor once.
static void forEachTensor(
    ModuleOp module,
    llvm::function_ref<bool(transformer::ParameterOp, size_t, bool)> visit) {
  llvm::DenseSet<std::pair<Attribute, Attribute>> seen;
  module.walk([&](transformer::ParameterOp op) {
    for (size_t layer = 0; layer < op.getNames().size(); ++layer) {
      bool isNew = seen.insert({op.getFileAttr(), op.getNames()[layer]}).second;
      if (!visit(op, layer, isNew))
        return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
}

Status ParameterStore::checkFinite(StringRef fileName, StringRef tensorName) {
  const File &file = *files.find(fileName)->second;
  if (file.gguf)
    return file.gguf->checkFinite(*file.gguf->findTensor(tensorName));
  const rt::SafetensorsTensor &tensor = *file.safetensors->find(tensorName);
  gguf::TensorType type =
      tensor.dtype == rt::SafetensorsDtype::F32   ? gguf::TensorType::F32
      : tensor.dtype == rt::SafetensorsDtype::F16 ? gguf::TensorType::F16
                                                  : gguf::TensorType::BF16;
  uint64_t rowElements = tensor.shape.empty() ? 1 : tensor.shape.back();
  return gguf::checkFinite({type, tensor.data, tensor.sizeBytes, rowElements,
                            placeOf(fileName, tensorName)},
                           file.mapping());
}

Status ParameterStore::checkParameters(ModuleOp module, bool allowNonfinite) {
  Status first;
  forEachTensor(
      module, [&](transformer::ParameterOp op, size_t layer, bool isNew) {
        first = resolve(op, layer).status();
        if (!first.ok() || !isNew || allowNonfinite)
          return first.ok();
        first = checkFinite(op.getFile(),
                            cast<StringAttr>(op.getNames()[layer]).getValue());
        return first.ok();
      });
  return first;
}

uint64_t ParameterStore::countValues(ModuleOp module) {
  uint64_t count = 0;
  forEachTensor(module,
                [&](transformer::ParameterOp op, size_t layer, bool isNew) {
                  if (isNew)
                    count += llvm::product_of(resolve(op, layer)->shape);
                  return true;
                });
  return count;
}

void ParameterStore::release(ArrayRef<uint8_t> bytes) const {
  for (const auto &[name, file] : files) {
    const rt::FileMapping *mapping = file->mapping();
    if (mapping && bytes.data() >= mapping->data() &&
        bytes.data() < mapping->data() + mapping->size()) {
      mapping->release(bytes.data(), bytes.size());
      return;
    }
  }
}

Status ParameterStore::checkUnchanged() const {
  for (const auto &[name, file] : files)
    if (const rt::FileMapping *mapping = file->mapping())
      CHORUS_RETURN_IF_ERROR(mapping->checkUnchanged("G26"));
  return {};
}
