#!/usr/bin/env python3
"""Writes random models of the Llama type as GGUF files, with PyPI's gguf.

    llama_gguf.py OUT.gguf --seed N [--twin F32.gguf]   one random configuration
    llama_gguf.py OUT.gguf --shape smollm2 --bytes 2e9  SmolLM2's shapes, more layers
    llama_gguf.py OUT.gguf --shape 1.1b                 1.1 billion parameters

Large files are written tensor by tensor and never held. The twin has the same
values, dequantised to F32: an oracle for files with quantised tensors.
"""

import argparse
import dataclasses
import itertools

import gguf
import numpy

TYPES = {name: gguf.GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")}
BLOCK = 32  # Elements of a block of the quantised types.
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
            " + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
            "{{ '<|im_start|>assistant\n' }}{% endif %}")


@dataclasses.dataclass
class Config:
    """Shapes and metadata of a model. `kind`: a type's name, or "mix";
    `vocab_kind`: another one for embedding and output."""
    layers: int
    d_model: int
    d_ff: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    kind: str
    tied: bool
    context: int = 512
    theta: float = 10000.0
    epsilon: float = 1e-5
    rope_factors: bool = False  # Writes rope_freqs.weight.
    pre: str = "smollm"
    seed: int = 0
    vocab_kind: str = ""

    def describe(self):
        return (f"{self.kind} layers {self.layers} d_model {self.d_model} d_ff {self.d_ff} heads "
                f"{self.heads}/{self.kv_heads}x{self.head_dim} vocab {self.vocab} theta {self.theta:g}"
                f"{' tied' if self.tied else ''}{' rope_freqs' if self.rope_factors else ''}")


def random_config(generator, index):
    """Configuration `index` of a run; every tensor type comes in turn, and the
    ends of each range come more often than chance would give them."""
    kinds = list(TYPES) + ["mix"]
    kind = kinds[index % len(kinds)]
    quantised = kind == "mix" or kind.startswith("Q")
    step = BLOCK if quantised else 2
    head_dim = int(generator.choice([16, 24, 32, 40, 64, 80, 96, 128]))
    kv_heads = int(generator.integers(1, 5))
    heads = kv_heads * int(generator.integers(1, 5))
    # Quantised rows are whole blocks; the attention output has heads * head_dim columns.
    while quantised and heads * head_dim % BLOCK:
        kv_heads, heads = 2 * kv_heads, 2 * heads
    # Half of the widths are heads * head_dim, as most models have it; none is
    # a multiple of 64 otherwise.
    if generator.random() < 0.5 and heads * head_dim <= 768:
        d_model = heads * head_dim
    else:
        d_model = step * int(generator.integers(max(1, 64 // step), 320 // step))
        while d_model % 64 == 0 or d_model % heads:
            d_model += step
            if d_model > 2000:  # No such width for these heads: give up the second wish.
                d_model = 96
                break
    d_ff = step * int(generator.integers(max(1, 96 // step), 640 // step))
    if d_ff % 64 == 0:
        d_ff += step
    layers = int(generator.choice([1, 2, 3, 5, 33], p=[0.25, 0.3, 0.2, 0.15, 0.1]))
    return Config(layers=layers, d_model=d_model, d_ff=d_ff, heads=heads, kv_heads=kv_heads,
                  head_dim=head_dim, vocab=2 * int(generator.integers(140, 600)) + 1, kind=kind,
                  tied=bool(generator.random() < 0.5),
                  theta=float(generator.choice([1e4, 1e5, 5e5])),
                  epsilon=float(generator.choice([1e-5, 1e-6])),
                  rope_factors=bool(generator.random() < 0.3),
                  pre=str(generator.choice(["smollm", "llama-bpe", "gpt-2"])),
                  seed=int(generator.integers(1 << 31)))


def byte_alphabet():
    """GPT-2's printable stand-in for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = itertools.count(256)
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def vocabulary(size, generator):
    """Tokens, kinds and merges of a byte-level BPE vocabulary of `size`
    tokens: three control tokens, 256 bytes, and merges of what is there."""
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = control + byte_alphabet()
    if size < len(tokens):
        raise ValueError(f"a byte-level vocabulary has at least {len(tokens)} tokens")
    kinds = [gguf.TokenType.CONTROL] * len(control) + [gguf.TokenType.NORMAL] * 256
    seen, merges = set(tokens), []
    # Merges of letters, so that ordinary text uses them.
    words = [c for c in tokens[len(control):] if c.isascii() and c.isalpha()] + ["Ġ"]
    while len(tokens) < size:
        left, right = (words[int(x * len(words))] for x in generator.random(2))
        if right.startswith("Ġ") or len(left + right) > 16 or left + right in seen:
            continue
        merges.append(f"{left} {right}")
        seen.add(left + right)
        words.append(left + right)
        tokens.append(left + right)
        kinds.append(gguf.TokenType.NORMAL)
    return tokens, kinds, merges


def tensor_kind(config, name, columns, generator):
    """The type of one tensor; norms and rotary factors are always F32."""
    if config.vocab_kind and name in ("token_embd.weight", "output.weight"):
        kind = config.vocab_kind
    elif config.kind != "mix":
        kind = config.kind
    else:
        kind = str(generator.choice(list(TYPES)))
    if kind.startswith("Q") and columns % BLOCK:
        kind = "F16"
    return TYPES[kind]


def tensors(config):
    """(name, shape, standard deviation or "norm" or "rope") of every tensor.
    Scales keep logits within a few units and attention far from uniform."""
    d, q, kv = config.d_model, config.heads * config.head_dim, config.kv_heads * config.head_dim
    residual = 1.0 / numpy.sqrt(2.0 * config.layers)
    yield "token_embd.weight", (config.vocab, d), 2.5 / numpy.sqrt(d) if config.tied else 1.0
    if config.rope_factors:
        yield "rope_freqs.weight", (config.head_dim // 2,), "rope"
    for i in range(config.layers):
        yield f"blk.{i}.attn_norm.weight", (d,), "norm"
        yield f"blk.{i}.attn_q.weight", (q, d), 1.4 / numpy.sqrt(d)
        yield f"blk.{i}.attn_k.weight", (kv, d), 1.4 / numpy.sqrt(d)
        yield f"blk.{i}.attn_v.weight", (kv, d), 1.0 / numpy.sqrt(d)
        yield f"blk.{i}.attn_output.weight", (d, q), residual / numpy.sqrt(q)
        yield f"blk.{i}.ffn_norm.weight", (d,), "norm"
        yield f"blk.{i}.ffn_gate.weight", (config.d_ff, d), 1.0 / numpy.sqrt(d)
        yield f"blk.{i}.ffn_up.weight", (config.d_ff, d), 1.0 / numpy.sqrt(d)
        yield f"blk.{i}.ffn_down.weight", (d, config.d_ff), 2 * residual / numpy.sqrt(config.d_ff)
    yield "output_norm.weight", (d,), "norm"
    if not config.tied:
        yield "output.weight", (config.vocab, d), 2.5 / numpy.sqrt(d)


def values(config, shape, scale, generator):
    if scale == "norm":
        return generator.uniform(0.6, 1.4, shape).astype(numpy.float32)
    if scale == "rope":
        # As Llama 3.1: high frequencies stay, low ones are divided by up to 8.
        ramp = numpy.linspace(-1.0, 2.0, shape[0]).clip(0.0, 1.0)
        return (1.0 + 7.0 * ramp).astype(numpy.float32)
    return (generator.standard_normal(shape, numpy.float32) * numpy.float32(scale))


def add_metadata(writer, config, generator):
    writer.add_name(f"random-llama-{config.seed}")
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.epsilon)
    writer.add_rope_freq_base(config.theta)
    writer.add_rope_dimension_count(config.head_dim)
    if config.heads * config.head_dim != config.d_model:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    writer.add_vocab_size(config.vocab)
    tokens, kinds, merges = vocabulary(config.vocab, generator)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(config.pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


class Writer:
    """A GGUF file whose tensors are declared first and written one by one."""

    def __init__(self, path, config, generator):
        self.writer = gguf.GGUFWriter(path, "llama")
        add_metadata(self.writer, config, generator)

    def declare(self, name, shape, kind):
        byte_shape = gguf.quant_shape_to_byte_shape(shape, kind)
        nbytes = int(numpy.prod(byte_shape))
        if kind == gguf.GGMLQuantizationType.F32:
            self.writer.add_tensor_info(name, shape, numpy.dtype(numpy.float32), nbytes)
        else:
            self.writer.add_tensor_info(name, byte_shape, numpy.dtype(numpy.uint8), nbytes, raw_dtype=kind)

    def begin(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_ti_data_to_file()

    def write(self, data):
        self.writer.write_tensor_data(data)

    def close(self):
        self.writer.close()


def write(path, config, twin=None):
    """Writes `config` to `path` and, if `twin` is a path, the same values in
    F32 to it."""
    generator = numpy.random.default_rng(config.seed)
    state = numpy.random.default_rng(config.seed + 1)
    listed = [(name, shape, scale,
               TYPES["F32"] if len(shape) == 1 else tensor_kind(config, name, shape[-1], generator))
              for name, shape, scale in tensors(config)]
    out = Writer(path, config, numpy.random.default_rng(config.seed + 2))
    other = Writer(twin, config, numpy.random.default_rng(config.seed + 2)) if twin else None
    for name, shape, _, kind in listed:
        out.declare(name, shape, kind)
        if other:
            other.declare(name, shape, TYPES["F32"])
    out.begin()
    if other:
        other.begin()
    for _, shape, scale, kind in listed:
        data = values(config, shape, scale, state)
        if kind == TYPES["F32"]:
            out.write(data)
        else:
            packed = gguf.quants.quantize(data, kind)
            out.write(packed)
            data = gguf.quants.dequantize(packed, kind).reshape(shape)
        if other:
            other.write(numpy.ascontiguousarray(data, numpy.float32))
    out.close()
    if other:
        other.close()


def random_blocks(kind, count, scale, generator):
    """`count` Q4_1 or Q8_0 blocks of weights around 0, as bytes [count, 20 or 34]."""
    # Standard deviations of the integers 0 to 15 and -128 to 127.
    nbytes, deviation = {TYPES["Q4_1"]: (20, 4.6), TYPES["Q8_0"]: (34, 74)}[kind]
    blocks = generator.integers(0, 256, (count, nbytes), numpy.uint8)
    step = (scale / deviation * generator.uniform(0.8, 1.2, count)).astype(numpy.float16)
    blocks[:, 0:2] = step.view(numpy.uint8).reshape(-1, 2)
    if kind == TYPES["Q4_1"]:
        blocks[:, 2:4] = (step * numpy.float16(-7.5)).view(numpy.uint8).reshape(-1, 2)
    return blocks


def write_large(path, config):
    """Writes a model of Q4_1 and Q8_0 of any size in little memory and time:
    blocks are drawn from one pool."""
    generator = numpy.random.default_rng(config.seed)
    pools = {}  # One for each type and scale; a tensor is a stretch of its pool.
    out = Writer(path, config, numpy.random.default_rng(config.seed + 2))
    listed = [(name, shape, scale,
               TYPES["F32"] if len(shape) == 1 else tensor_kind(config, name, shape[-1], generator))
              for name, shape, scale in tensors(config)]
    for name, shape, _, kind in listed:
        out.declare(name, shape, kind)
    out.begin()
    for _, shape, scale, kind in listed:
        if kind == TYPES["F32"]:
            out.write(values(config, shape, scale, generator))
            continue
        if (kind, scale) not in pools:
            pools[kind, scale] = random_blocks(kind, 1 << 16, float(scale), generator)
        pool, count = pools[kind, scale], int(numpy.prod(shape)) // BLOCK
        if count <= len(pool):
            first = int(generator.integers(len(pool) - count + 1))
            data = pool[first:first + count]
        else:
            first = int(generator.integers(len(pool)))
            data = numpy.take(pool, numpy.arange(first, first + count), axis=0, mode="wrap")
        out.write(data.reshape(shape[0], -1))
    out.close()


SHAPES = {
    "smollm2": Config(layers=30, d_model=576, d_ff=1536, heads=9, kv_heads=3, head_dim=64,
                      vocab=49152, kind="Q4_1", tied=True, context=8192, theta=1e5),
    "1.1b": Config(layers=22, d_model=2048, d_ff=5632, heads=32, kv_heads=4, head_dim=64,
                   vocab=32000, kind="Q4_1", tied=False, context=2048, vocab_kind="Q8_0"),
}


def with_bytes(config, size):
    """The shape with as many layers as fit in about `size` bytes."""
    d, q, kv = config.d_model, config.heads * config.head_dim, config.kv_heads * config.head_dim
    layer = (2 * q * d + 2 * kv * d + 3 * config.d_ff * d) // BLOCK * 20
    fixed = config.vocab * d // BLOCK * 20 * (1 if config.tied else 2)
    return dataclasses.replace(config, layers=max(1, int((size - fixed) // layer)))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index", type=int, default=0, help="which configuration of the seed's run")
    parser.add_argument("--twin")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--bytes", type=float)
    options = parser.parse_args()
    if options.shape:
        config = SHAPES[options.shape]
        if options.bytes:
            config = with_bytes(config, options.bytes)
        write_large(options.out, config)
    else:
        generator = numpy.random.default_rng(options.seed)
        config = [random_config(generator, i) for i in range(options.index + 1)][-1]
        write(options.out, config, options.twin)
    print(config.describe())


if __name__ == "__main__":
    main()
