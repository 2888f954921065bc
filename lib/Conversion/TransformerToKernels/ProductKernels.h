//===- ProductKernels.h - What the parts of a product share -----*- C++ -*-===//

#ifndef CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_PRODUCTKERNELS_H
#define CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_PRODUCTKERNELS_H

#include "EntryLowering.h"

#include <optional>

namespace chorus {

/// Bits of C = 1.5 * 2^23: adding an integer below 2^22 to them gives C + i.
constexpr int32_t magicBits = 0x4B400000;
constexpr float magicValue = 12582912.0f;

/// A product with so many neighbouring panels. `tail`: columns of the last one;
/// less than panelRows only if it is the only one.
struct Product {
  KernelBuilder &k;
  Type weightType;
  int64_t width;      ///< Values in a row.
  int64_t terms;      ///< Read of int8 activations; 0 for f32.
  int64_t inputTerms; ///< That they have.
  bool residual;
  int64_t panels, tail;

  std::optional<transformer::BlockFormat> format =
      transformer::getBlockFormat(weightType);
  bool hasMinimum() const { return format && format->hasMinimum; }
  int64_t blocks() const { return width / transformer::blockSize; }
  int64_t inputRowBytes() const;
  /// Of the function that is this part of the product.
  std::string name(llvm::StringRef part) const;
};

/// Layout of the scratch for one block: [8 groups][panels][64 B], then scales,
/// minima and scales times -C, each [panels][16] f32.
struct Scratch {
  const Product &p;

  int64_t blockBytes() const {
    return p.panels * (512 + 64 * (1 + p.k.target.vnni + p.hasMinimum()));
  }
  int64_t group(int64_t panel, int64_t group) const {
    return (group * p.panels + panel) * 64;
  }
  int64_t scale(int64_t panel) const { return 512 * p.panels + 64 * panel; }
  int64_t minimum(int64_t panel) const { return scale(panel) + 64 * p.panels; }
  int64_t negated(int64_t panel) const {
    return scale(panel) + 64 * p.panels * (1 + p.hasMinimum());
  }
  /// Blocks of a chunk; the last one may have fewer.
  int64_t chunkBlocks() const;
};

/// The sums of rows x panels. Between two chunks of blocks they lie in the
/// output. Bit 0 of `stage` says that a chunk is the first, bit 1 that it is
/// the last.
struct TileSums {
  const Product &p;
  int64_t rows, panels;
  Value output, outputBytes, residual, residualBytes, stage;

  /// Asks for the lines that will be read or written.
  void prefetch() const;
  /// [row][panel]: those of the chunks so far, +0 in the first one.
  Values load() const;
  /// Adds the residual, if any, in the last chunk.
  void store(const Values &sums) const;

private:
  void storeAs(const Values &sums, bool results) const;
  Value at(Value base, Value rowBytes, int64_t row, int64_t panel) const;
  int64_t columns(int64_t panel) const {
    return panel + 1 == panels ? p.tail : panelRows;
  }
  bool oneChunk() const { return Scratch{p}.chunkBlocks() >= p.blocks(); }
};

/// Lines of the weights that will be unpacked next. The first tiles ask for
/// them while they run, at a rate that leaves their own loads alone.
struct LinesAhead {
  Value first, step; ///< Address; bytes from one line to the next.

  /// Asks for the lines that go with a tile's block number `block`.
  void prefetch(const Product &p, Value block) const;
};

/// Lines of the next chunk, which begins at `next`, for tile number `tile` of a
/// chunk of `blocks` blocks; those in `scratch` if all are on their way.
LinesAhead linesAhead(const Product &p, Value next, Value tile, int64_t blocks,
                      Value scratch);

/// tiles(input, scratch, output, output row bytes, residual, residual row
/// bytes, stage, count, next, number of the first tile): `count` tiles of
/// `rows` rows over a chunk of `blocks` blocks at which the input begins and
/// whose weights lie in the scratch as signed bytes. AMXKernels.cpp.
mlir::LLVM::LLVMFuncOp amxTiles(const Product &p, int64_t rows, int64_t blocks);

} // namespace chorus

#endif // CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_PRODUCTKERNELS_H
