/*===- toy_model.h - Sizes of the toy model ------------------------*- C
-*-===*\
|* Shared by its code and by what writes its artifact.                        *|
\*===----------------------------------------------------------------------===*/

#ifndef CHORUS_TOOLS_TEST_TOY_MODEL_H
#define CHORUS_TOOLS_TEST_TOY_MODEL_H

/* 256 bytes, then control tokens. */
#define TOY_FIRST_CONTROL 256
#define TOY_START 256 /* <|im_start|> */
#define TOY_END 257   /* <|im_end|>, ends a candidate */
#define TOY_VOCAB 258
#define TOY_CONTEXT 4096
/* One layer, one kv head of 1: 32 * (1 + 16) * 4 bytes. */
#define TOY_PAGE_BYTES 2176

#endif
