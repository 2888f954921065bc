//===- Vocabulary.h - Tokens, stop ids and template of a GGUF ---*- C++ -*-===//

#ifndef CHORUS_LIB_IMPORT_GGUF_VOCABULARY_H
#define CHORUS_LIB_IMPORT_GGUF_VOCABULARY_H

#include "chorus_rt/Status.h"

namespace chorus {

namespace gguf {
class GGUFFile;
} // namespace gguf
struct ModelMetadata;

/// Sets the metadata's tokenizer segment, stop ids and chat template from the
/// keys `tokenizer.*`; `vocabSize` must be set. A tokenizer that is not
/// byte-level BPE with a known pre-tokeniser adds a warning instead of a
/// segment. Refuses rows G24 and T03 to T05.
rt::Status importVocabulary(const gguf::GGUFFile &file,
                            ModelMetadata &metadata);

} // namespace chorus

#endif // CHORUS_LIB_IMPORT_GGUF_VOCABULARY_H
