//===- Families.cpp - The table of model families -------------------------===//

#include "chorus/Import/Families/Family.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace chorus;

llvm::ArrayRef<const Family *> chorus::allFamilies() {
  static const Family *const families[] = {
      &llamaFamily,
  };
  return families;
}

const Family *chorus::findFamily(llvm::StringRef architecture) {
  for (const Family *family : allFamilies())
    if (family->architecture == architecture)
      return family;
  return nullptr;
}

std::string chorus::familyNames() {
  return llvm::join(llvm::map_range(allFamilies(),
                                    [](const Family *family) {
                                      return family->architecture;
                                    }),
                    ", ");
}
