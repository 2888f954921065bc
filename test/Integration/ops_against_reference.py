#!/usr/bin/env python3
"""Every op of the dialect by its kernels against its definition.

Each op is compiled from MLIR text, fast and with --reference, and run on the
same inputs: code of all CPU levels gives the same bits, kernels agree with the
definition to 1e-5 of the row's largest magnitude, products of integers with
scales that are powers of two exactly, and the definition agrees with numpy.
Sizes are 1, odd, and one past a tile. --only takes a case of products or the
name of another function with cases.
"""

import sys

import gguf
import numpy
from safetensors.numpy import load_file, save_file

from harness import MODEL, ROOT, Model, Suite, run

import llama_gguf

ROWS = [1, 2, 3, 4, 5, 7, 8, 13, 64]
OUTPUTS = [16, 17, 33, 96]
# The last one takes two chunks of unpacked blocks on every CPU level, of which
# the second is shorter.
WIDTHS = [32, 64, 96, 928]
TYPES = llama_gguf.TYPES
BLOCKS = ["Q8_0", "Q4_0", "Q4_1"]
# A kernel may sum in another order than the definition.
CLOSE = 1e-5
VOCAB = 37


def mlir_type(kind):
    return kind.lower() if kind not in BLOCKS else f"!transformer.{kind.lower()}"


class Weights:
    """A GGUF file of weights, and their values."""

    def __init__(self, path):
        self.path, self.values, self.packed = path, {}, []

    def add(self, name, kind, data):
        data = numpy.ascontiguousarray(data, numpy.float32)
        if kind == "F32":
            packed = data
        else:
            packed = gguf.quants.quantize(data, TYPES[kind])
            data = gguf.quants.dequantize(packed, TYPES[kind]).reshape(data.shape)
        self.packed.append((name, kind, packed))
        self.values[name] = data.astype(numpy.float32)

    def write(self):
        writer = gguf.GGUFWriter(self.path, "llama")
        for name, kind, packed in self.packed:
            writer.add_tensor(name, packed, raw_dtype=TYPES[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


class Entries:
    """A module compiled fast and with --reference."""

    def __init__(self, suite, cpus, name, text, options=()):
        self.suite, self.cpus, self.name = suite, cpus, name
        source = suite.work / f"{name}.mlir"
        source.write_text(text)
        self.fast = Model(suite, source, f"{name}-fast", options)
        self.reference = Model(suite, source, f"{name}-reference", ["--reference", *options])

    def _call(self, model, entry, inputs, *options):
        out = self.suite.work / "outputs.safetensors"
        model.run("--entry", entry, "--inputs", self.suite.work / "inputs.safetensors",
                  "--outputs", out, *options)
        return load_file(out)

    def compare(self, case, entry, *arrays, close=CLOSE):
        """Runs an entry in all ways. The first result of the reference, after
        all comparisons of kernels with it."""
        save_file({f"arg{i}": numpy.ascontiguousarray(a) for i, a in enumerate(arrays)},
                  self.suite.work / "inputs.safetensors")
        expected = self._call(self.reference, entry, arrays)
        fast = {cpu: self._call(self.fast, entry, arrays, "--cpu", cpu) for cpu in self.cpus}
        first = fast[self.cpus[0]]
        where = f"@{entry} on {', '.join(str(list(a.shape)) for a in arrays)}"
        for cpu, got in fast.items():
            for name, value in first.items():
                case.require(got[name].tobytes() == value.tobytes(),
                             f"{where}: {name} of {cpu} and {self.cpus[0]} differ in bits")
        for name, value in expected.items():
            require_close(case, first[name], value, close, f"{where}: {name}")
        return [expected[f"result{i}"] for i in range(len(expected))]


def require_close(case, got, expected, close, what):
    """`close` times the largest magnitude of each row; 0 asks for equal values.
    What underflows in f32 is as good as 0."""
    case.equal(got.shape, expected.shape, f"shape of {what}")
    case.require(numpy.isfinite(expected).all(), f"{what}: expected values that are not finite")
    if got.size == 0:
        return
    width = got.shape[-1] if got.ndim else 1
    got, expected = got.reshape(-1, width).astype(numpy.float64), expected.reshape(-1, width)
    bar = close * numpy.abs(expected).max(axis=1, keepdims=True) + (1e-36 if close else 0)
    worst = numpy.abs(got - expected).max()
    case.require((numpy.abs(got - expected) <= bar).all(), f"{what}: differs by {worst:.2e}")


def quantize_rows(x, terms=1, read=None):
    """The numeric contract's activations: scale * value, where `read` of the
    `terms` are read (default: all)."""
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    largest = numpy.abs(blocks).max(axis=-1, keepdims=True)
    scale = (largest / numpy.float32(127)).astype(numpy.float32)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        y = blocks * (numpy.float32(1) / scale).astype(numpy.float32)
    y = numpy.where(largest < 2.0 ** -70, 0, y)
    q = numpy.clip(numpy.rint(y), -127, 127)
    if terms == 2 and read != 1:
        q = q + numpy.clip(numpy.rint(256 * y) - 256 * q, -127, 127) / 256
    return (q * scale.astype(numpy.float64)).reshape(x.shape)


def random_rows(generator, *shape):
    return generator.standard_normal(shape, numpy.float32)


#===-----------------------------------------------------------------------===#
# Products and look-ups
#===-----------------------------------------------------------------------===#


def linear_text(kind, leading="?"):
    """One function per width with a product per number of outputs; the last
    also has a residual and weights side by side."""
    out, element = [], mlir_type(kind)
    for k in WIDTHS:
        x = f"tensor<{leading}x{k}xf32>"
        types = [f"tensor<{leading}x{n}xf32>" for n in OUTPUTS]
        joined, residual = f"tensor<{leading}x{sum(OUTPUTS)}xf32>", types[2]
        lines = [f"  %w{n} = transformer.parameter \"w.gguf\" [\"{kind}.{n}.{k}\"] : tensor<{n}x{k}x{element}>"
                 for n in OUTPUTS]
        lines += [f"  %y{n} = transformer.linear %x, %w{n} : ({x}, tensor<{n}x{k}x{element}>) -> {t}"
                  for n, t in zip(OUTPUTS, types)]
        lines.append(f"  %z = transformer.linear %x, %w33 plus %r : ({x}, tensor<33x{k}x{element}>, {residual})"
                     f" -> {residual}")
        lines.append(f"  %j = transformer.linear %x, {', '.join(f'%w{n}' for n in OUTPUTS)} : ({x}, "
                     f"{', '.join(f'tensor<{n}x{k}x{element}>' for n in OUTPUTS)}) -> {joined}")
        results = [f"%y{n}" for n in OUTPUTS] + ["%z", "%j"]
        types = types + [residual, joined]
        out.append(f"func.func @k{k}(%x: {x}, %r: {residual}) -> ({', '.join(types)}) {{\n" + "\n".join(lines)
                   + f"\n  return {', '.join(results)} : {', '.join(types)}\n}}\n")
    return "".join(out)


def products(suite, cpus, weights, generator):
    for kind in TYPES:
        for activations in (["int8", "f32"] if kind in BLOCKS else ["int8"]):
            rounded = activations == "int8" and kind in BLOCKS
            name = f"linear {kind}, {activations} activations"
            if not suite.wants(name):
                continue
            with suite.case(name) as case:
                entries = Entries(suite, cpus, f"linear-{kind}-{activations}", linear_text(kind),
                                  [f"--activations={activations}"])
                for k in WIDTHS:
                    for rows in ROWS:
                        x = random_rows(generator, rows, k)
                        if rows > 2:
                            x[1] = 0
                            x[2, :32] *= 1e-30
                        r = random_rows(generator, rows, 33)
                        # An f32 product is one chain in both forms.
                        results = entries.compare(case, f"k{k}", x, r, close=CLOSE if rounded else 0)
                        seen = quantize_rows(x) if rounded else x.astype(numpy.float64)
                        exact = [seen @ weights.values[f"{kind}.{n}.{k}"].astype(numpy.float64).T
                                 for n in OUTPUTS]
                        exact += [exact[2] + r, numpy.concatenate(exact, axis=1)]
                        for got, expected in zip(results, exact):
                            require_close(case, got, expected, CLOSE, f"reference of k{k}, {rows} rows")


def exact_products(suite, cpus, generator):
    """Integers times powers of two, sums below 2^24 units: every order is exact."""
    with suite.case("linear, integers are exact") as case:
        weights = Weights(suite.work / "exact.gguf")
        lines, types = [], []
        for kind, low, high in (("Q8_0", -127, 128), ("Q4_0", -8, 8), ("Q4_1", 0, 16)):
            q = generator.integers(low, high, (33, 96 // 32, 32)).astype(numpy.float32)
            # The ends of the range make the format's scale a power of two.
            q[..., 0], q[..., 1] = {"Q8_0": (127, -127), "Q4_0": (-8, 7), "Q4_1": (0, 15)}[kind]
            scale = 2.0 ** generator.integers(-1, 2, (33, 3, 1))
            weights.add(kind, kind, (q * scale).reshape(33, 96))
            case.equal(weights.values[kind].tolist(), (q * scale).reshape(33, 96).tolist(),
                       f"dequantised {kind}")
            element = mlir_type(kind)
            lines.append(f"  %w{kind} = transformer.parameter \"exact.gguf\" [\"{kind}\"] : "
                         f"tensor<33x96x{element}>\n  %{kind} = transformer.linear %x, %w{kind} : "
                         f"(tensor<?x96xf32>, tensor<33x96x{element}>) -> tensor<?x33xf32>\n")
            types.append("tensor<?x33xf32>")
        weights.write()
        text = (f"func.func @exact(%x: tensor<?x96xf32>) -> ({', '.join(types)}) {{\n{''.join(lines)}"
                f"  return {', '.join('%' + kind for kind in BLOCKS)} : {', '.join(types)}\n}}\n")
        entries = Entries(suite, cpus, "exact", text)
        for rows in ROWS:
            x = generator.integers(-126, 127, (rows, 3, 32)).astype(numpy.float32)
            x[..., 5] = numpy.where(generator.random((rows, 3)) < 0.5, 127, -127)
            x = (x * 2.0 ** generator.integers(0, 2, (rows, 3, 1))).reshape(rows, 96).astype(numpy.float32)
            results = entries.compare(case, "exact", x, close=0)
            for kind, got in zip(BLOCKS, results):
                expected = x.astype(numpy.float64) @ weights.values[kind].astype(numpy.float64).T
                require_close(case, got, expected, 0, f"reference of {kind}, {rows} rows")


def two_terms(suite, cpus, weights, generator):
    """Rounding in two terms, as products that make queries, keys and values
    have it: those of this attention, and one that is written out."""
    with suite.case("linear, two terms") as case:
        text = ""
        for kind in BLOCKS:
            w, q = f"tensor<33x96x{mlir_type(kind)}>", "tensor<?x96x!transformer.act_q8<2>>"
            v = f"tensor<96x96x{mlir_type(kind)}>"
            joined = f"tensor<16x96x{mlir_type(kind)}>"
            text += (f"func.func @{kind}(%x: tensor<?x96xf32>, %z: tensor<?x?x96xf32>) -> (tensor<?x33xf32>, tensor<?x65xf32>, tensor<?x?x96xf32>) {{\n"
                     f"  %w = transformer.parameter \"w.gguf\" [\"{kind}.33.96\"] : {w}\n"
                     f"  %v = transformer.parameter \"w.gguf\" [\"{kind}.96.96\"] : {v}\n"
                     f"  %q = transformer.quantize_activations %x : tensor<?x96xf32> -> {q}\n"
                     f"  %y = transformer.linear %q, %w : ({q}, {w}) -> tensor<?x33xf32>\n"
                     f"  %a = transformer.parameter \"w.gguf\" [\"{kind}.16.96\"] : {joined}\n"
                     f"  %j = transformer.linear %q, %a, %a, %w terms [1, 2, 1] : ({q}, {joined}, {joined}, {w}) -> tensor<?x65xf32>\n"
                     f"  %p = transformer.linear %z, %v : (tensor<?x?x96xf32>, {v}) -> tensor<?x?x96xf32>\n"
                     "  %o = transformer.attention causal %p, %p, %p heads = 4 kv_heads = 4 scale = 1.0e-02 : "
                     "tensor<?x?x96xf32>, tensor<?x?x96xf32>\n"
                     "  return %y, %j, %o : tensor<?x33xf32>, tensor<?x65xf32>, tensor<?x?x96xf32>\n}\n")
        entries = Entries(suite, cpus, "two-terms", text)
        for kind in BLOCKS:
            w, a, v = (weights.values[f"{kind}.{n}.96"].astype(numpy.float64) for n in (33, 16, 96))
            for rows in ROWS:
                x, z = random_rows(generator, rows, 96), random_rows(generator, 2, rows, 96)
                y, j, o = entries.compare(case, kind, x, z)
                both, first = quantize_rows(x, 2), quantize_rows(x, 2, read=1)
                require_close(case, y, both @ w.T, CLOSE, f"reference of {kind}, {rows} rows")
                require_close(case, j, numpy.concatenate([first @ a.T, both @ a.T, first @ w.T], axis=1), CLOSE,
                              f"reference of {kind}, {rows} rows, some of one term")
                p = (quantize_rows(z, 2) @ v.T).astype(numpy.float32)
                require_close(case, o, attend(p, p, p, 4, 4, numpy.float32(0.01), True), 1e-4, f"attention over {kind}")


def embeddings(suite, cpus, weights, generator):
    with suite.case("embedding, every type") as case:
        text = "".join(
            f"func.func @{kind}_{k}(%t: tensor<?x?xi32>) -> tensor<?x?x{k}xf32> {{\n"
            f"  %w = transformer.parameter \"w.gguf\" [\"{kind}.33.{k}\"] : tensor<33x{k}x{mlir_type(kind)}>\n"
            f"  %y = transformer.embedding %t, %w : tensor<?x?xi32>, tensor<33x{k}x{mlir_type(kind)}> -> tensor<?x?x{k}xf32>\n"
            f"  return %y : tensor<?x?x{k}xf32>\n}}\n" for kind in TYPES for k in WIDTHS)
        entries = Entries(suite, cpus, "embedding", text)
        for kind in TYPES:
            for k in WIDTHS:
                tokens = generator.integers(0, 33, (2, 17)).astype(numpy.int32)
                tokens[0, :3] = 0, 16, 32
                got, = entries.compare(case, f"{kind}_{k}", tokens, close=0)
                case.require((got == weights.values[f"{kind}.33.{k}"][tokens]).all(), f"{kind} {k}: other values")


def unusual_products(suite, cpus, weights, generator):
    """Weights that are no parameters, no leading dimension, three of them, and
    static ones."""
    with suite.case("linear and embedding of arguments") as case:
        entries = Entries(suite, cpus, "arguments", """
func.func @product(%x: tensor<?x64xf32>, %w: tensor<17x64xf32>) -> tensor<?x17xf32> {
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<17x64xf32>) -> tensor<?x17xf32>
  return %y : tensor<?x17xf32>
}
func.func @look_up(%t: tensor<?xi32>, %w: tensor<17x64xf16>) -> tensor<?x64xf32> {
  %y = transformer.embedding %t, %w : tensor<?xi32>, tensor<17x64xf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
func.func @norm(%x: tensor<?x64xf32>, %w: tensor<64xf32>) -> tensor<?x64xf32> {
  %y = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
  return %y : tensor<?x64xf32>
}
""")
        x, w = random_rows(generator, 5, 64), random_rows(generator, 17, 64)
        got, = entries.compare(case, "product", x, w)
        require_close(case, got, x.astype(numpy.float64) @ w.T, CLOSE, "product")
        tokens, half = numpy.array([3, 16, 0], numpy.int32), w.astype(numpy.float16)
        got, = entries.compare(case, "look_up", tokens, half)
        case.equal(got.tolist(), half[tokens].astype(numpy.float32).tolist(), "looked up values")
        got, = entries.compare(case, "norm", x, w[0])
        require_close(case, got, rms_norm(x, w[0], 1e-5), CLOSE, "norm")

    shapes = {"none": (), "three": ("?", "?", "?"), "static": (5,), "mixed": (2, "?", 3)}
    with suite.case("linear with other leading dimensions") as case:
        text = ""
        for name, leading in shapes.items():
            prefix = "".join(f"{dim}x" for dim in leading)
            text += (f"func.func @{name}(%x: tensor<{prefix}96xf32>) -> tensor<{prefix}33xf32> {{\n"
                     "  %w = transformer.parameter \"w.gguf\" [\"Q4_0.33.96\"] : tensor<33x96x!transformer.q4_0>\n"
                     f"  %y = transformer.linear %x, %w : (tensor<{prefix}96xf32>, tensor<33x96x!transformer.q4_0>)"
                     f" -> tensor<{prefix}33xf32>\n  return %y : tensor<{prefix}33xf32>\n}}\n")
        entries = Entries(suite, cpus, "leading", text)
        for name, leading in shapes.items():
            x = random_rows(generator, *(dim if dim != "?" else 4 for dim in leading), 96)
            got, = entries.compare(case, name, x)
            expected = quantize_rows(x) @ weights.values["Q4_0.33.96"].astype(numpy.float64).T
            require_close(case, got, expected, CLOSE, name)


#===-----------------------------------------------------------------------===#
# Everything else
#===-----------------------------------------------------------------------===#


def rms_norm(x, weight, epsilon):
    x = x.astype(numpy.float64)
    return x / numpy.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * weight


def norms(suite, cpus, generator):
    with suite.case("rms_norm") as case:
        widths = [1, 5, 16, 17, 64, 100, 576]
        norm_weights = Weights(suite.work / "norm.gguf")
        for d in widths:
            norm_weights.add(f"n{d}", "F32", generator.uniform(0.5, 1.5, d))
        norm_weights.write()
        entries = Entries(suite, cpus, "norm", "".join(
            f"func.func @d{d}(%x: tensor<?x?x{d}xf32>) -> tensor<?x?x{d}xf32> {{\n"
            f"  %w = transformer.parameter \"norm.gguf\" [\"n{d}\"] : tensor<{d}xf32>\n"
            f"  %y = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<?x?x{d}xf32>, tensor<{d}xf32>\n"
            f"  return %y : tensor<?x?x{d}xf32>\n}}\n" for d in widths))
        for d in widths:
            for rows in (1, 5, 13):
                x = random_rows(generator, 2, rows, d)
                x[0, 0] *= 1e-4
                got, = entries.compare(case, f"d{d}", x)
                require_close(case, got, rms_norm(x, norm_weights.values[f"n{d}"], 1e-5), CLOSE, f"norm of {d}")


def elementwise(suite, cpus, generator):
    with suite.case("glu, addition, round_to_cache") as case:
        widths = [1, 15, 16, 17, 96, "?"]
        text = ""
        for d in widths:
            t, name = f"tensor<?x{d}xf32>", str(d).replace("?", "dynamic")
            text += (f"func.func @d{name}(%a: {t}, %b: {t}) -> ({t}, {t}, {t}, {t}) {{\n"
                     f"  %g = transformer.glu silu %a, %b : {t}\n  %s = arith.addf %a, %b : {t}\n"
                     f"  %h = transformer.round_to_cache %a to f16 : {t}\n"
                     f"  %f = transformer.round_to_cache %a to f32 : {t}\n"
                     f"  return %g, %s, %h, %f : {t}, {t}, {t}, {t}\n}}\n")
        entries = Entries(suite, cpus, "elementwise", text)
        for d in widths:
            for rows in (1, 2, 13):
                width = 19 if d == "?" else d
                a, b = (20 * random_rows(generator, rows, width) for _ in range(2))
                a.flat[0] = 1e6
                if a.size > 3:
                    a.flat[1:4] = -7e5, 3e-7, -95.0
                glu, total, half, same = entries.compare(case, f"d{str(d).replace('?', 'dynamic')}", a, b)
                wide = a.astype(numpy.float64)
                with numpy.errstate(over="ignore"):
                    silu = wide / (1 + numpy.exp(-wide))
                require_close(case, glu, silu * b, CLOSE, "glu")
                case.require((total == a + b).all(), "a sum has other values")
                rounded = numpy.clip(a, -65504, 65504).astype(numpy.float16).astype(numpy.float32)
                case.require((half == rounded).all(), "f16 rounding has other values")
                case.require((same == a).all(), "f32 rounding has other values")


def rotate(x, table, head_dim, adjacent, positions):
    """x [.., seq, heads * head_dim], positions [seq]"""
    pairs = table.shape[0]
    out = x.astype(numpy.float64).reshape(*x.shape[:-1], -1, head_dim).copy()
    angle = positions[:, None] * table
    cos, sin = numpy.cos(angle)[:, None], numpy.sin(angle)[:, None]
    first = slice(0, 2 * pairs, 2) if adjacent else slice(0, pairs)
    second = slice(1, 2 * pairs, 2) if adjacent else slice(pairs, 2 * pairs)
    a, b = out[..., first].copy(), out[..., second].copy()
    out[..., first], out[..., second] = a * cos - b * sin, b * cos + a * sin
    return out.reshape(x.shape)


def rotary(suite, cpus, generator):
    with suite.case("rotary") as case:
        factors = Weights(suite.work / "factors.gguf")
        factors.add("f", "F32", generator.uniform(1, 8, 8))
        factors.write()
        shapes = [(2, 16, 8), (3, 24, 8), (1, 64, 32), (5, 6, 3)]  # heads, head_dim, pairs
        text = ""
        for heads, head_dim, pairs in shapes:
            for pairing in ("adjacent", "halves"):
                name, d = f"{pairing}_{heads}_{head_dim}", heads * head_dim
                scaled = " factors %f : tensor<8xf32>" if pairs == 8 else ""
                text += (f"func.func @{name}(%x: tensor<?x?x{d}xf32>, %y: tensor<?x{d}xf32>, %p: tensor<?xi32>) -> "
                         f"(tensor<?x?x{d}xf32>, tensor<?x{d}xf32>) {{\n"
                         "  %f = transformer.parameter \"factors.gguf\" [\"f\"] : tensor<8xf32>\n"
                         f"  %t = transformer.rotary_table theta = 1.0e+04{scaled} : tensor<100x{pairs}x2xf32>\n"
                         f"  %a = transformer.rotary {pairing} %x, %t head_dim = {head_dim} : tensor<?x?x{d}xf32>, "
                         f"tensor<100x{pairs}x2xf32>\n"
                         f"  %b = transformer.rotary {pairing} %y, %t at %p : tensor<?xi32> head_dim = {head_dim} : "
                         f"tensor<?x{d}xf32>, tensor<100x{pairs}x2xf32>\n"
                         f"  return %a, %b : tensor<?x?x{d}xf32>, tensor<?x{d}xf32>\n}}\n")
        entries = Entries(suite, cpus, "rotary", text)
        for heads, head_dim, pairs in shapes:
            frequencies = 1e4 ** (-numpy.arange(pairs) / pairs)
            if pairs == 8:
                frequencies /= factors.values["f"]
            for pairing in ("adjacent", "halves"):
                for rows in (1, 5, 33):
                    x, y = random_rows(generator, 2, rows, heads * head_dim), random_rows(generator, rows, heads * head_dim)
                    positions = generator.integers(0, 100, rows).astype(numpy.int32)
                    a, b = entries.compare(case, f"{pairing}_{heads}_{head_dim}", x, y, positions)
                    adjacent = pairing == "adjacent"
                    require_close(case, a, rotate(x, frequencies, head_dim, adjacent, numpy.arange(rows)), CLOSE, "rotary")
                    require_close(case, b, rotate(y, frequencies, head_dim, adjacent, positions), CLOSE,
                                  "rotary at positions")


def attend(query, key, value, heads, kv_heads, scale, causal):
    batch, seq, _ = query.shape
    split = lambda x, n: x.astype(numpy.float64).reshape(batch, seq, n, -1).transpose(0, 2, 1, 3)
    q, k, v = split(query, heads), split(key, kv_heads), split(value, kv_heads)
    k, v = (numpy.repeat(x, heads // kv_heads, axis=1) for x in (k, v))
    scores = scale * q @ k.transpose(0, 1, 3, 2)
    if causal:
        scores = numpy.where(numpy.tri(seq, dtype=bool), scores, -numpy.inf)
    p = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    out = p @ v / p.sum(axis=-1, keepdims=True)
    return out.transpose(0, 2, 1, 3).reshape(query.shape)


def attention(suite, cpus, generator):
    with suite.case("attention") as case:
        shapes = [(1, 1, 16), (4, 2, 8), (9, 3, 64), (6, 1, 5)]  # heads, kv_heads, head_dim
        text = ""
        for heads, kv_heads, head_dim in shapes:
            q, kv = f"tensor<?x?x{heads * head_dim}xf32>", f"tensor<?x?x{kv_heads * head_dim}xf32>"
            for mask in ("causal", "full"):
                text += (f"func.func @{mask}_{heads}_{kv_heads}(%q: {q}, %k: {kv}, %v: {kv}) -> {q} {{\n"
                         f"  %o = transformer.attention {mask} %q, %k, %v heads = {heads} kv_heads = {kv_heads} "
                         f"scale = 3.0e-01 : {q}, {kv}\n  return %o : {q}\n}}\n")
        entries = Entries(suite, cpus, "attention", text)
        for heads, kv_heads, head_dim in shapes:
            for mask in ("causal", "full"):
                for seq in (1, 2, 13, 33, 65):
                    q = random_rows(generator, 2, seq, heads * head_dim)
                    k, v = (random_rows(generator, 2, seq, kv_heads * head_dim) for _ in range(2))
                    k[0] *= 30  # One position takes nearly all.
                    got, = entries.compare(case, f"{mask}_{heads}_{kv_heads}", q, k, v)
                    expected = attend(q, k, v, heads, kv_heads, numpy.float32(0.3), mask == "causal")
                    # Scores of several hundred have an absolute error of 1e-5.
                    require_close(case, got, expected, 1e-4, f"{mask} attention of {seq}")


def heads(suite, cpus, generator):
    with suite.case("log_sum_exp and select_rows") as case:
        widths = [1, 17, 64, 65, 1000]
        text = "".join(
            f"func.func @d{d}(%x: tensor<?x{d}xf32>, %r: tensor<?xi32>, %z: tensor<?x?x{d}xf32>, %o: tensor<{d}xf32>) -> "
            f"(tensor<?xf32>, tensor<?x{d}xf32>, tensor<?x?xf32>, tensor<f32>) {{\n"
            f"  %l = transformer.log_sum_exp %x : tensor<?x{d}xf32> -> tensor<?xf32>\n"
            f"  %s = transformer.select_rows %x, %r : tensor<?x{d}xf32>, tensor<?xi32> -> tensor<?x{d}xf32>\n"
            f"  %m = transformer.log_sum_exp %z : tensor<?x?x{d}xf32> -> tensor<?x?xf32>\n"
            f"  %n = transformer.log_sum_exp %o : tensor<{d}xf32> -> tensor<f32>\n"
            f"  return %l, %s, %m, %n : tensor<?xf32>, tensor<?x{d}xf32>, tensor<?x?xf32>, tensor<f32>\n}}\n"
            for d in widths)
        entries = Entries(suite, cpus, "heads", text)

        def log_sum_exp(x):
            wide = x.astype(numpy.float64)
            most = wide.max(axis=-1, keepdims=True)
            return numpy.log(numpy.exp(wide - most).sum(axis=-1)) + most[..., 0]

        for d in widths:
            for rows in (1, 7, 64):
                x, z = 8 * random_rows(generator, rows, d), random_rows(generator, 2, rows, d)
                o = random_rows(generator, d)
                chosen = generator.integers(0, rows, 5).astype(numpy.int32)
                sums, picked, more, one = entries.compare(case, f"d{d}", x, chosen, z, o)
                # A row here is one number, which may be near 0.
                for got, data in ((sums, x), (more, z), (one, o)):
                    worst = float(numpy.abs(got - log_sum_exp(data)).max())
                    case.require(worst <= CLOSE * max(1, numpy.abs(data).max()), f"log_sum_exp of {d} off by {worst:.1e}")
                case.require((picked == x[chosen]).all(), "selected rows have other values")


def mixed(suite, cpus, weights, generator):
    """What stands between ops of the dialect in plain functions."""
    with suite.case("functions with linalg and elementwise ops") as case:
        entries = Entries(suite, cpus, "mixed", """
#rows = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
func.func @mixed(%x: tensor<?x64xf32>, %bias: tensor<33xf32>) -> (tensor<?x33xf32>, tensor<?x33xf32>, tensor<?x16xf32>) {
  %c0 = arith.constant 0 : index
  %half = arith.constant dense<5.0e-01> : tensor<33x64xf32>
  %w = transformer.parameter "w.gguf" ["F32.33.64"] : tensor<33x64xf32>
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<33x64xf32>) -> tensor<?x33xf32>
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %init = tensor.empty(%n) : tensor<?x33xf32>
  %biased = linalg.generic {indexing_maps = [#rows, #column, #rows], iterator_types = ["parallel", "parallel"]}
      ins(%y, %bias : tensor<?x33xf32>, tensor<33xf32>) outs(%init : tensor<?x33xf32>) {
  ^bb0(%a: f32, %b: f32, %unused: f32):
    %sum = arith.addf %a, %b : f32
    linalg.yield %sum : f32
  } -> tensor<?x33xf32>
  %e = math.exp %biased : tensor<?x33xf32>
  %scaled = arith.mulf %w, %half : tensor<33x64xf32>
  %z = transformer.linear %x, %scaled : (tensor<?x64xf32>, tensor<33x64xf32>) -> tensor<?x33xf32>
  %s = tensor.extract_slice %biased[0, 8] [%n, 16] [1, 1] : tensor<?x33xf32> to tensor<?x16xf32>
  %t = arith.mulf %s, %s : tensor<?x16xf32>
  return %e, %z, %t : tensor<?x33xf32>, tensor<?x33xf32>, tensor<?x16xf32>
}
func.func @as_it_is(%x: tensor<?x?xf32>, %i: tensor<3xi64>) -> (tensor<?x?xf32>, tensor<3xi64>, tensor<33x64xf32>, tensor<?x?xf32>) {
  %w = transformer.parameter "w.gguf" ["F32.33.64"] : tensor<33x64xf32>
  return %x, %i, %w, %x : tensor<?x?xf32>, tensor<3xi64>, tensor<33x64xf32>, tensor<?x?xf32>
}
func.func @product(%a: tensor<?x?xf32>, %b: tensor<?x?xf32>, %c: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %p = linalg.matmul ins(%a, %b : tensor<?x?xf32>, tensor<?x?xf32>) outs(%c : tensor<?x?xf32>) -> tensor<?x?xf32>
  %q = linalg.matmul ins(%a, %b : tensor<?x?xf32>, tensor<?x?xf32>) outs(%p : tensor<?x?xf32>) -> tensor<?x?xf32>
  return %q : tensor<?x?xf32>
}
""")
        w = weights.values["F32.33.64"].astype(numpy.float64)
        for rows in (1, 3, 13):
            x, bias = random_rows(generator, rows, 64) / 8, random_rows(generator, 33)
            e, z, t = entries.compare(case, "mixed", x, bias)
            require_close(case, e, numpy.exp(x @ w.T + bias), CLOSE, "exponentials")
            require_close(case, z, x @ (w / 2).T, CLOSE, "product with computed weights")
            require_close(case, t, ((x @ w.T + bias) ** 2)[:, 8:24], CLOSE, "columns")
            a, b, c = (random_rows(generator, *shape) for shape in ((rows, 5), (5, 7), (rows, 7)))
            got, = entries.compare(case, "product", a, b, c)
            require_close(case, got, c + 2 * a.astype(numpy.float64) @ b, CLOSE, "linalg.matmul twice")
            numbers = numpy.array([1, -2, 1 << 40])
            results = entries.compare(case, "as_it_is", x, numbers, close=0)
            for got, expected in zip(results, (x, numbers, w, x)):
                case.equal(got.tolist(), expected.tolist(), "a value handed through")


def bounds(suite, cpus):
    """What would be read outside of a tensor is refused, what is just inside is not."""
    with suite.case("N14: ids, rows and positions outside their tensors") as case:
        entries = Entries(suite, cpus, "bounds", """
func.func @embedding(%ids: tensor<?x?xi32>) -> tensor<?x?x32xf32> {
  %e = transformer.parameter "w.gguf" ["F32.33.32"] : tensor<33x32xf32>
  %x = transformer.embedding %ids, %e : tensor<?x?xi32>, tensor<33x32xf32> -> tensor<?x?x32xf32>
  return %x : tensor<?x?x32xf32>
}
func.func @table(%ids: tensor<?xi32>, %e: tensor<7x32xf32>) -> tensor<?x32xf32> {
  %x = transformer.embedding %ids, %e : tensor<?xi32>, tensor<7x32xf32> -> tensor<?x32xf32>
  return %x : tensor<?x32xf32>
}
func.func @select(%x: tensor<?x32xf32>, %rows: tensor<?xi32>) -> tensor<?x32xf32> {
  %y = transformer.select_rows %x, %rows : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
func.func @positions(%x: tensor<?x32xf32>, %at: tensor<?xi32>) -> tensor<?x32xf32> {
  %t = transformer.rotary_table theta = 1.0e+04 : tensor<64x8x2xf32>
  %y = transformer.rotary halves %x, %t at %at : tensor<?xi32> head_dim = 16 : tensor<?x32xf32>, tensor<64x8x2xf32>
  return %y : tensor<?x32xf32>
}
func.func @sequence(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %t = transformer.rotary_table theta = 1.0e+04 : tensor<64x8x2xf32>
  %y = transformer.rotary halves %x, %t head_dim = 16 : tensor<?x?x32xf32>, tensor<64x8x2xf32>
  return %y : tensor<?x?x32xf32>
}
func.func @gather(%data: tensor<?x32xf32>, %pick: tensor<?xi64>, %out: tensor<?xf32>) -> tensor<?xf32> {
  %last = arith.constant 31 : index
  %r = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%pick : tensor<?xi64>) outs(%out : tensor<?xf32>) {
  ^bb0(%at: i64, %unused: f32):
    %i = arith.index_cast %at : i64 to index
    %e = tensor.extract %data[%i, %last] : tensor<?x32xf32>
    linalg.yield %e : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}
""")

        def rows(*shape):
            return numpy.ones(shape, numpy.float32)

        def refuse(entry, message, *arrays):
            save_file({f"arg{i}": a for i, a in enumerate(arrays)}, suite.work / "inputs.safetensors")
            for model in (entries.fast, entries.reference):
                out = suite.work / "refused.safetensors"
                result = run([suite.tool("chorus-run"), model.path, "--entry", entry, "--inputs",
                              suite.work / "inputs.safetensors", "--outputs", out])
                case.equal(result.code, 3, f"exit code of @{entry}")
                expected = f"chorus-run: error N14: {suite.work}/inputs.safetensors: tensor '{message}\n"
                case.equal(result.err, expected, f"line of @{entry}")
                case.require(not out.exists(), f"@{entry} left a file")

        def i32(*values, shape=None):
            return numpy.array(values, numpy.int32).reshape(shape or -1)

        most = 2**31 - 1
        entries.compare(case, "embedding", i32(0, 32, 5, 7, shape=(2, 2)))
        for bad in (-1, 33, most, -most - 1):
            refuse("embedding", f"arg0': holds {bad} at [1, 0], allowed is 0 to 32", i32(0, 32, bad, 7, shape=(2, 2)))
        entries.compare(case, "table", i32(6, 0), rows(7, 32))
        for bad in (-1, 7, most):
            refuse("table", f"arg0': holds {bad} at [1], allowed is 0 to 6", i32(6, bad), rows(7, 32))
        entries.compare(case, "select", rows(3, 32), i32(2, 0))
        for bad in (-1, 3, most):
            refuse("select", f"arg1': holds {bad} at [0], allowed is 0 to 2", rows(3, 32), i32(bad))
        entries.compare(case, "positions", rows(2, 32), i32(63, 0))
        for bad in (-1, 64, most):
            refuse("positions", f"arg1': holds {bad} at [1], allowed is 0 to 63", rows(2, 32), i32(0, bad))
        entries.compare(case, "sequence", rows(2, 64, 32))
        refuse("sequence", "arg0': has a size of 65 in dimension 1, allowed is at most 64", rows(2, 65, 32))
        entries.compare(case, "gather", rows(3, 32), numpy.array([2, 0]), rows(2))
        for bad in (-1, 3, 2**32, 2**63 - 1):
            refuse("gather", f"arg1': holds {bad} at [1], allowed is 0 to 2", rows(3, 32), numpy.array([0, bad]), rows(2))


#===-----------------------------------------------------------------------===#
# Language models
#===-----------------------------------------------------------------------===#


def language_models(suite):
    config = llama_gguf.Config(layers=2, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24, vocab=301,
                               kind="mix", tied=True, context=64, rope_factors=True, seed=11)
    source = suite.work / "tiny.gguf"
    llama_gguf.write(source, config)
    ids = numpy.random.default_rng(5).integers(3, config.vocab, 40).tolist()
    for options, bar in ((["--activations=f32", "--kv-cache=f32"], 1e-4), (["--activations=f32"], 5e-3),
                         (["--kv-cache=f32"], 5e-2), ([], 5e-2)):
        # A rounding, to f16 or int8, may flip where two sums differ in their last bit.
        with suite.case(f"tiny model, {' '.join(options) or 'default options'}") as case:
            fast = Model(suite, source, "tiny", options)
            slow = Model(suite, source, "tiny-reference", ["--reference", *options])
            got = fast.all_log_probabilities(ids, config.vocab)
            expected = slow.all_log_probabilities(ids, config.vocab)
            worst = float(numpy.abs(got - expected).max())
            case.note = f"log-probabilities differ by {worst:.1e}"
            case.require(worst <= bar, f"log-probabilities differ by {worst:.2e}, at most {bar:g}")
            request = ["--prompt-ids", ",".join(map(str, ids[:7])), "--max-tokens", 6, "--temperature", 0,
                       "--ignore-eos"]
            if bar < 1e-2:
                case.equal(slow.records(*request)[0]["token_ids"], fast.records(*request)[0]["token_ids"],
                           "greedy tokens")


def real_model(suite):
    with suite.case("real model by reference, 12 tokens") as case:
        golden = load_file(ROOT / "test/data/smollm2/prompt1.safetensors")
        ids, listed = golden["prompt_ids"][:12].tolist(), golden["top_ids"][:12]
        model = Model(suite, MODEL, "smollm2-reference", ["--reference", "--activations=f32", "--kv-cache=f32"])
        table = model.all_log_probabilities(ids, 49152)
        got = numpy.take_along_axis(table, listed.astype(numpy.int64), axis=1)
        worst = float(numpy.abs(got - golden["top_logprobs"][:12]).max())
        case.note = f"differs from the oracle by {worst:.1e}"
        case.require(worst <= 1e-3, f"log-probabilities differ from the oracle's by {worst:.2e}, at most 1e-3")


def main():
    suite = Suite("ops-against-reference", __doc__)
    suite.parse()
    generator = numpy.random.default_rng(2026)
    cpus = sum(suite.cpu_levels(), [])

    weights = Weights(suite.work / "w.gguf")
    for kind in TYPES:
        for n in OUTPUTS:
            for k in WIDTHS:
                weights.add(f"{kind}.{n}.{k}", kind, random_rows(generator, n, k))
    weights.write()

    products(suite, cpus, weights, generator)  # Knows by itself which of its cases are wanted.
    for group, arguments in ((exact_products, (cpus, generator)),
                             (two_terms, (cpus, weights, generator)),
                             (embeddings, (cpus, weights, generator)),
                             (unusual_products, (cpus, weights, generator)),
                             (norms, (cpus, generator)),
                             (elementwise, (cpus, generator)),
                             (rotary, (cpus, generator)),
                             (attention, (cpus, generator)),
                             (heads, (cpus, generator)),
                             (mixed, (cpus, weights, generator)),
                             (bounds, (cpus,)),
                             (language_models, ()),
                             (real_model, ())):
        if suite.wants(group.__name__):
            group(suite, *arguments)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
