#!/usr/bin/env python3
"""Makes test/data/tokenizer: generated texts and the ids llama.cpp gives them.

    tokenizer_oracle.py SMOLLM2.gguf OUT_FOLDER

For each pre-tokeniser a small vocabulary (bytes, merges learned from the text
below, special tokens that overlap and nest) is written as a GGUF file without
tensors, which llama.cpp loads; SmolLM2's own vocabulary is the fourth. Writes
PRE.vocabulary.json and PRE.jsonl, smollm2.jsonl: lines of

    {"text": ..., "ids": [...], "ids_parse_special": [...]}

where the last is left out if it equals "ids". Needs llama-cpp-python 0.3.36 and
gguf. Characters are those of Unicode 14, the version of Debian 12's PCRE2.
"""

import json
import pathlib
import random
import re
import sys
import tempfile
import unicodedata

import gguf
import llama_cpp

assert unicodedata.unidata_version == "14.0.0", "use Python 3.11"

TEXTS_PER_VOCABULARY = 2000

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# At most 16: so many std::sort keeps in order where lengths are equal. None of
# the control tokens is one word of its pre-tokeniser: where merges are ignored
# llama.cpp gives such a token for plain text too, Chorus never does.
SPECIAL_TOKENS = [
    ("<|endoftext|>", CONTROL),
    ("<|im_start|>", CONTROL),
    ("<|im_end|>", CONTROL),
    ("<s>", CONTROL),
    ("<s><s>", CONTROL),
    ("><|", USER_DEFINED),
    ("<unk>", UNKNOWN),
    ("é!", CONTROL),
    ("[TOOL]", USER_DEFINED),
    ("TOOL", USER_DEFINED),
    ("[TOOL][TOOL]", USER_DEFINED),
    ("   ", USER_DEFINED),
    ("\n\n\n", USER_DEFINED),
    ("ing ", USER_DEFINED),
    ("naïve", USER_DEFINED),
    # The type is wrong; llama.cpp makes a control token of it.
    ("<|eom_id|>", NORMAL),
]

CORPUS = """
The tokenizer reads a text from left to right and cuts it into words before it merges the bytes of a word pair by pair.
It's easy to say that they'll see what we've done; I'm sure he'd agree, and you're welcome. DON'T SHOUT, WE'LL HEAR IT.
Les élèves étudient à l'école près de la forêt, où l'été est très chaud. Größe, Straße, Übermut und Ärger.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
日本語の文章は、単語の間に空白がありません。漢字とひらがなとカタカナを使います。中文也没有空格。
def encode(self, text):\n    for i in range(0, len(text), 2):\n        if text[i] != ' ':\n            return {'a': 1, "b": [2, 3]}\n
\t\tif (x >= 10 && y <= 20) { z += x * y; } // a comment\r\n\t\t}\r\n\r\n
In 1999, 12 of 1,024 runs took 3.14159 seconds; in 2024 it was 0.5 %. Call +1 (555) 010-9999.
مرحبا بالعالم، هذا نص قصير. שלום עולם. हिन्दी में लिखा हुआ वाक्य। 안녕하세요 세계.
Working, walking, talking, singing and reading are things that the others were doing while nothing was happening here.
"""


def byte_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


ALPHABET = byte_alphabet()


def spell(text):
    return "".join(ALPHABET[b] for b in text.encode())


def learn_merges(missing):
    """The most frequent pair first, of equally frequent ones the smallest, until
    all words but rare ones are whole."""
    words = {}
    for word in re.findall(r" ?[^\W\d_]+| ?\d+| ?[^\w\s]+|\s+", CORPUS):
        key = tuple(spell(word))
        words[key] = words.get(key, 0) + 1
    merges = []
    while True:
        pairs = {}
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                if not missing & set("".join(pair)):
                    pairs[pair] = pairs.get(pair, 0) + times
        if not pairs or len(merges) == 800:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = {}
        for word, times in words.items():
            parts, i = [], 0
            while i < len(word):
                if word[i : i + 2] == best:
                    parts.append(word[i] + word[i + 1])
                    i += 2
                else:
                    parts.append(word[i])
                    i += 1
            merged[tuple(parts)] = merged.get(tuple(parts), 0) + times
        words = merged


def make_vocabulary(pre):
    # Vocabularies often lack bytes that their training text lacked.
    missing = {ALPHABET[b] for b in (0x06, 0x7E, 0xF1)}
    merges = learn_merges(missing)
    tokens = [(c, NORMAL) for c in ALPHABET.values() if c not in missing]
    texts = {text for text, _ in tokens}
    for left, right in merges:
        if left + right not in texts:
            texts.add(left + right)
            tokens.append((left + right, NORMAL))
    # Words that no merge makes: found only where merges are ignored.
    for word in (" hello", "Whole", "naïveté", "12", " 漢字", "\n\n", " ...", "'Ll"):
        if spell(word) not in texts:
            texts.add(spell(word))
            tokens.append((spell(word), NORMAL))
    tokens += SPECIAL_TOKENS
    tokens += [("<0x41>", BYTE), ("<unused0>", UNUSED)]
    texts = [text for text, _ in tokens]
    return {
        "pre": pre,
        "tokens": texts,
        "token_type": [kind for _, kind in tokens],
        "merges": [" ".join(merge) for merge in merges],
        "bos_token_id": texts.index("<s>"),
        "eos_token_id": texts.index("<|im_end|>"),
    }


def write_gguf(vocabulary, path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(1024)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary["pre"])
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["token_type"])
    writer.add_token_merges(vocabulary["merges"])
    writer.add_bos_token_id(vocabulary["bos_token_id"])
    writer.add_eos_token_id(vocabulary["eos_token_id"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


BLANKS = [" ", " ", " ", "  ", "   ", "    ", "\n", "\n\n", "\n\n\n", "\t", "\r\n", "\r", "\v", "\f"]
BLANKS += [chr(c) for c in (0x85, 0xA0, 0x1680, 0x180E, 0x2003, 0x200B, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'Ve", "'lL", "'x", "''", "\u2019s", "'\u017F"]
NUMBERS = ["1", "12", "123", "1234", "1234567", "3.14", "1,000", "\u0663\u0664", "\u00BD", "\u2167", "\u0967\u0968", "\U0001D7D9", "\u4E00"]
SYMBOLS = ["!", "?!", "...", "--", "(", ")", "{}", "==", "\u20AC", "\u2026", "\U0001F600", "\U0001F468\u200D\U0001F469", "\u0301", "e\u0301", "^^^", "<", "|", ">", "_"]
CONTROLS = ["\0", "\x01", "\x06", "\x1B[0m", "~", "\x7F", "\u00AD", "\uE000", "\uFFFD", "\uFFFF", "\U0010FFFF"]
WORDS = re.findall(r"\w+", CORPUS) + ["hello", "Whole", "na\u00EFvet\u00E9", "\u6F22\u5B57", "A", "TOOLS", "ingot"]


def assigned_characters():
    """By general category, so that rare categories come up too."""
    categories = {}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category not in ("Cn", "Cs", "Co"):
            categories.setdefault(category, []).append(chr(code))
    return list(categories.values())


CHARACTERS = assigned_characters()


def random_piece(rng, specials):
    special = rng.choice(specials)
    return rng.choice(
        [
            lambda: rng.choice(WORDS),
            lambda: rng.choice(WORDS),
            lambda: " " + rng.choice(WORDS),
            lambda: rng.choice(WORDS) + rng.choice(CONTRACTIONS),
            lambda: rng.choice(BLANKS) * rng.choice([1, 1, 1, 2, 3]),
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(SYMBOLS),
            lambda: rng.choice(CONTROLS),
            lambda: "".join(rng.choice(rng.choice(CHARACTERS)) for _ in range(rng.randint(1, 4))),
            lambda: special,
            lambda: special * rng.randint(2, 3),
            # In a word, nested in itself, or only a part.
            lambda: rng.choice(WORDS) + special + rng.choice(WORDS),
            lambda: (lambda cut: special[:cut] + special + special[cut:])(rng.randint(0, len(special))),
            lambda: special[: rng.randint(1, len(special))],
            lambda: special[rng.randint(0, len(special) - 1) :],
        ]
    )()


def random_text(rng, specials):
    pieces = [random_piece(rng, specials) for _ in range(rng.randint(1, 7))]
    # A special token at a border.
    where = rng.randint(0, 5)
    if where == 0:
        pieces.insert(0, rng.choice(specials))
    elif where == 1:
        pieces.append(rng.choice(specials))
    elif where == 2:
        pieces.insert(rng.randint(0, len(pieces)), rng.choice(specials))
    return "".join(pieces)


def write_cases(gguf_path, specials, seed, out):
    model = llama_cpp.Llama(str(gguf_path), vocab_only=True, verbose=False)
    rng = random.Random(seed)
    with open(out, "w", encoding="utf-8") as lines:
        for _ in range(TEXTS_PER_VOCABULARY):
            text = random_text(rng, specials)
            case = {"text": text}
            case["ids"] = model.tokenize(text.encode(), add_bos=False, special=False)
            parsed = model.tokenize(text.encode(), add_bos=False, special=True)
            if parsed != case["ids"]:
                case["ids_parse_special"] = parsed
            lines.write(json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{out}: {out.stat().st_size} bytes")


def main():
    smollm2, folder = map(pathlib.Path, sys.argv[1:3])
    for seed, pre in enumerate(("gpt-2", "llama-bpe", "smollm")):
        vocabulary = make_vocabulary(pre)
        with open(folder / f"{pre}.vocabulary.json", "w", encoding="utf-8") as out:
            json.dump(vocabulary, out, ensure_ascii=False, separators=(",", ":"))
            out.write("\n")
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            write_gguf(vocabulary, file.name)
            specials = [text for text, _ in SPECIAL_TOKENS]
            write_cases(file.name, specials, seed, folder / f"{pre}.jsonl")
    reader = gguf.GGUFReader(smollm2)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    specials = [token for token, kind in zip(tokens, kinds) if kind != NORMAL]
    write_cases(smollm2, specials, 3, folder / "smollm2.generated.jsonl")


if __name__ == "__main__":
    main()
