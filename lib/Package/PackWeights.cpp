//===- PackWeights.cpp - Source tensors to the weights segment ------------===//

#include "chorus/Package/PackWeights.h"

#include "chorus/Dialect/Transformer/TransformerTypes.h"

#include "mlir/IR/BuiltinTypes.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

/// An infinite scale becomes NaN: there all forms of a product agree.
static uint16_t packableScale(uint16_t half) {
  bool infinite = (half & 0x7fff) == 0x7c00;
  return infinite ? 0x7e00 : half;
}

/// 16 rows of blocks, from `source` (row 0 of the panel, `rows` of them exist),
/// to units of a block each.
static void packBlockPanel(const BlockFormat &format, int64_t unitBytes,
                           const uint8_t *source, int64_t rows, int64_t blocks,
                           uint8_t *panel) {
  int64_t halves = format.hasMinimum ? 2 : 1;
  int64_t groups = format.bits == 4 ? 4 : 8;
  // Stored integers are unsigned: int8 gains 128.
  uint8_t flip = format.bits == 8 ? 0x80 : 0;
  std::memset(panel, 0, unitBytes * blocks);
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t *block = source + row * blocks * format.sourceBytes;
    uint8_t *unit = panel;
    for (int64_t b = 0; b < blocks;
         ++b, block += format.sourceBytes, unit += unitBytes) {
      for (int64_t h = 0; h < halves; ++h) {
        uint16_t half;
        std::memcpy(&half, block + 2 * h, 2);
        half = packableScale(half);
        std::memcpy(unit + 2 * (h * panelRows + row), &half, 2);
      }
      uint8_t *data = unit + 2 * halves * panelRows + 4 * row;
      for (int64_t g = 0; g < groups; ++g)
        for (int64_t t = 0; t < 4; ++t)
          data[64 * g + t] = block[2 * halves + 4 * g + t] ^ flip;
    }
  }
}

/// 16 rows of plain values, transposed to [k][16].
static void packValuePanel(int64_t valueBytes, const uint8_t *source,
                           int64_t rows, int64_t k, uint8_t *panel) {
  std::memset(panel, 0, panelRows * k * valueBytes);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < k; ++column)
      std::memcpy(panel + (column * panelRows + row) * valueBytes,
                  source + (row * k + column) * valueBytes, valueBytes);
}

static std::vector<float> rotaryRow(const PlannedWeight &weight,
                                    const std::vector<float> &factors,
                                    int64_t position) {
  int64_t pairs = weight.type.getDimSize(1);
  std::vector<float> row;
  for (int64_t i = 0; i < pairs; ++i) {
    double frequency = std::pow(weight.theta, -static_cast<double>(i) /
                                                  static_cast<double>(pairs));
    if (!factors.empty())
      frequency /= factors[i];
    double angle = static_cast<double>(position) * frequency;
    row.push_back(static_cast<float>(std::cos(angle)));
    row.push_back(static_cast<float>(std::sin(angle)));
  }
  return row;
}

rt::Status
packWeights(const WeightPlan &plan, ParameterStore &store, MLIRContext &context,
            llvm::function_ref<rt::Status(const void *, uint64_t)> sink,
            llvm::function_ref<void(uint64_t, uint64_t)> progress) {
  uint64_t written = 0;
  auto write = [&](const void *data, uint64_t bytes) {
    written += bytes;
    return sink(data, bytes);
  };
  const std::vector<uint8_t> zeros(64, 0);
  std::vector<uint8_t> panel;
  for (const PlannedWeight &weight : plan.weights()) {
    if (weight.offset > written)
      CHORUS_RETURN_IF_ERROR(write(zeros.data(), weight.offset - written));
    ArrayRef<uint8_t> bytes;
    if (!weight.tensor.empty()) {
      rt::StatusOr<ParameterView> view =
          store.find(weight.file, weight.tensor, context);
      CHORUS_RETURN_IF_ERROR(view.status());
      bytes = view->bytes;
    }
    switch (weight.layout) {
    case WeightLayout::Raw:
      CHORUS_RETURN_IF_ERROR(write(bytes.data(), bytes.size()));
      break;
    case WeightLayout::RotaryTable: {
      std::vector<float> factors(bytes.size() / 4);
      std::memcpy(factors.data(), bytes.data(), 4 * factors.size());
      for (int64_t position = 0; position < weight.type.getDimSize(0);
           ++position) {
        std::vector<float> row = rotaryRow(weight, factors, position);
        CHORUS_RETURN_IF_ERROR(write(row.data(), 4 * row.size()));
      }
      break;
    }
    case WeightLayout::Panels: {
      Type element = weight.type.getElementType();
      int64_t rows = weight.type.getDimSize(0), k = weight.type.getDimSize(1);
      uint64_t rowBytes = bytes.size() / rows;
      panel.resize(panelBytes(element, k));
      for (int64_t row = 0; row < rows; row += panelRows) {
        ArrayRef<uint8_t> source = bytes.slice(
            row * rowBytes, std::min(panelRows, rows - row) * rowBytes);
        int64_t count = std::min(panelRows, rows - row);
        if (std::optional<BlockFormat> format = getBlockFormat(element))
          packBlockPanel(*format, panelBlockBytes(element), source.data(),
                         count, k / blockSize, panel.data());
        else
          packValuePanel(element.getIntOrFloatBitWidth() / 8, source.data(),
                         count, k, panel.data());
        CHORUS_RETURN_IF_ERROR(write(panel.data(), panel.size()));
        // Pages are given back in runs: one call a panel costs more than it
        // saves.
        constexpr uint64_t run = 4 << 20;
        uint64_t done = row * rowBytes;
        if (done / run != (done + source.size()) / run)
          store.release(bytes.slice(
              done / run * run,
              std::min<uint64_t>(run, bytes.size() - done / run * run)));
      }
      break;
    }
    }
    store.release(bytes);
    progress(written, plan.sizeBytes());
  }
  return {};
}

} // namespace chorus
