//===- Family.h - Model families that GGUF files name -----------*- C++ -*-===//
//
// A family knows the keys and tensors of one `general.architecture` and how
// they become a graph. A new one is a file in lib/Import/Families and a line
// in the table of Families.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_IMPORT_FAMILIES_FAMILY_H
#define CHORUS_IMPORT_FAMILIES_FAMILY_H

#include "chorus_rt/Status.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>

namespace chorus {

class GraphBuilder;
class ModelKeys;
class TensorChecklist;
struct ModelMetadata;

/// What a family reads from and writes to.
struct FamilyImport {
  /// Keys under the family's prefix.
  ModelKeys &keys;
  /// The file's tensors, compared with those that the family asks for.
  TensorChecklist &tensors;
  GraphBuilder &graph;
  /// The family sets dimensions, vocabulary size and context length.
  ModelMetadata &metadata;
};

struct Family {
  /// Value of `general.architecture`.
  llvm::StringRef architecture;
  /// Models of this family by the names that people know, for lists.
  llvm::StringRef models;
  /// Reads the keys, checks keys and tensors completely, then builds the graph.
  rt::Status (*build)(FamilyImport &import);
};

extern const Family llamaFamily;

/// All families, by architecture name.
llvm::ArrayRef<const Family *> allFamilies();

/// Null if there is none of that name.
const Family *findFamily(llvm::StringRef architecture);

/// "gemma, llama", for messages.
std::string familyNames();

} // namespace chorus

#endif // CHORUS_IMPORT_FAMILIES_FAMILY_H
