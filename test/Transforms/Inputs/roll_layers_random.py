"""Rolls random layered programs and compares their meaning with the unrolled text.

Meaning is symbolic: two values are equal if the same ops make them from equal
values, where a loop is run iteration by iteration. The programs repeat random
layers in random orders, carry several values, read values from inside layers and
from far behind, and some have one op changed.
"""

import random
import re
import subprocess
import sys

ROW = "tensor<?x16xf32>"
CACHE = "!transformer.state<paged_kv, f32, layers = 64, kv_heads = 4, head_dim = 4>"


class Program:
    def __init__(self, rng):
        self.rng, self.lines, self.count, self.layer = rng, [], 0, 0
        self.constants = [f"  %l{i} = arith.constant {i} : index" for i in range(64)]

    def emit(self, text):
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def op(self, kind, operands, tag):
        a, b = operands
        if kind in ("sin", "tanh", "absf"):
            return self.emit(f"math.{kind} {a} : {ROW}")
        if kind in ("addf", "mulf"):
            return self.emit(f"arith.{kind} {a}, {b} : {ROW}")
        if kind == "norm":
            w = self.emit(f'transformer.parameter "m" ["{tag}"] : tensor<16xf32>')
            return self.emit(f"transformer.rms_norm {a}, {w} epsilon = 1.0e-05 : {ROW}, tensor<16xf32>")
        layer, self.layer = f"%l{self.layer}", self.layer + 1
        return self.emit(f"transformer.attention causal {a}, {b}, {b} cache %cache[{layer}] at %p : "
                         f"{CACHE}, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : {ROW}, {ROW}")


def random_layer(rng, carried):
    """Ops whose operands are ("own", i), ("carried", i) or ("outside", i)."""
    ops = []
    for _ in range(rng.randint(2, 7)):
        def operand():
            kind = rng.choice(["own", "own", "own", "carried", "carried", "outside"])
            if kind == "own" and ops:
                return "own", rng.randrange(max(0, len(ops) - 3), len(ops))
            return ("carried", rng.randrange(carried)) if kind != "outside" else ("outside", 0)
        kind = rng.choice(["sin", "tanh", "absf", "addf", "mulf", "norm", "norm", "attention"])
        ops.append((kind, operand(), operand(), rng.random() < 0.3))
    return ops, [rng.randrange(len(ops)) for _ in range(carried - 1)] + [len(ops) - 1]


def generate(rng):
    program = Program(rng)
    carried = rng.choice([1, 1, 2, 3])
    layers = [random_layer(rng, carried) for _ in range(rng.choice([1, 1, 2, 3]))]
    if rng.random() < 0.5:
        pattern = [rng.randrange(len(layers))] * rng.randint(2, 5) * rng.randint(1, 2)
    else:
        pattern = [rng.randrange(len(layers)) for _ in range(rng.randint(1, 4))] * rng.randint(2, 3)
    outside = [program.op("sin", ("%x", "%x"), "")]
    state = [program.op(kind, ("%x", "%x"), "") for kind in rng.choices(["tanh", "absf", "sin"], k=carried)]
    made = list(state)
    for number, which in enumerate(pattern):
        if program.layer > 50:
            break
        ops, results = layers[which]
        own = []
        for index, (kind, first, second, shared) in enumerate(ops):
            def value(operand):
                where, i = operand
                return own[i] if where == "own" else state[i] if where == "carried" else outside[0]
            if rng.random() < 0.004:
                kind = "mulf"
            operands = [value(first), value(second)]
            if rng.random() < 0.004:
                operands[0] = rng.choice(made)
            own.append(program.op(kind, operands, f"s.{which}.{index}" if shared else f"l.{number}.{index}"))
        made += own
        state = [own[i] for i in results]
    results = list(state)
    if rng.random() < 0.4:
        results.append(rng.choice(made))
    types = ", ".join([ROW] * len(results))
    return (f"func.func @f(%x: {ROW}, %p: tensor<?xi32>, %cache: {CACHE}) -> ({types}) attributes {{transformer.step}} {{\n"
            + "\n".join(program.constants + program.lines)
            + f"\n  return {', '.join(results)} : {types}\n}}\n")


class Evaluator:
    """Numbers symbolic values; one instance for both texts."""

    def __init__(self):
        self.numbers = {}

    def intern(self, *key):
        return self.numbers.setdefault(key, f"#{len(self.numbers)}")

    def run(self, text):
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("module")]
        self.attentions, self.loops = [], 0
        values = {name: self.intern("argument", i)
                  for i, name in enumerate(re.findall(r"(%\w+): ", lines[0]))}
        return self.block(lines, 1, values)[0]

    def block(self, lines, at, values):
        """Runs up to return or yield: its operands and the index behind it."""
        while True:
            line = lines[at]
            if line.startswith(("return", "scf.yield")):
                return [values[v] for v in re.findall(r"%[\w#]+", line)], at + 1
            result, text = line.split(" = ", 1)
            operands = re.findall(r"%[\w#]+", text)
            if text.startswith("scf.for"):
                at = self.loop(lines, at, result, operands, text, values)
                continue
            if text.startswith("arith.constant"):
                values[result] = int(text.split()[1])
            elif text.startswith("arith.addi"):
                values[result] = values[operands[0]] + values[operands[1]]
            elif text.startswith("arith.muli"):
                values[result] = values[operands[0]] * values[operands[1]]
            elif text.startswith("transformer.parameter"):
                names = re.findall(r'"([^"]*)"', text)[1:]
                name = names[values[operands[0]]] if operands else names[0]
                values[result] = self.intern("parameter", name, text.split(":")[-1])
            else:
                key = re.sub(r"%[\w#]+", "%", text)
                values[result] = self.intern(key, *(values[v] for v in operands))
                if "attention" in text:
                    self.attentions.append(values[result])
            at += 1

    def loop(self, lines, at, result, operands, text, values):
        self.loops += 1
        index, lower, upper, step, *pairs = operands
        arguments, initial = pairs[0::2], pairs[1::2]
        state = [values[v] for v in initial]
        for i in range(values[lower], values[upper], values[step]):
            inner = dict(values)
            inner[index] = i
            inner.update(zip(arguments, state))
            state, end = self.block(lines, at + 1, inner)
        if ":" in result:
            values.update((f"{result.split(':')[0]}#{i}", v) for i, v in enumerate(state))
        else:
            values[result] = state[0]
        return end + 1


def main():
    programs, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    texts = [generate(rng) for _ in range(programs)]
    def optimize(*options):
        run = subprocess.run(["chorus-opt", "-split-input-file", *options, "-"], text=True, check=True,
                             input="\n// -----\n".join(texts), stdout=subprocess.PIPE)
        return run.stdout.split("// -----")

    unrolled, outputs = optimize(), optimize("-chorus-roll-layers")
    assert len(unrolled) == len(outputs) == programs
    rolled = 0
    for number, (before, after) in enumerate(zip(unrolled, outputs)):
        evaluator = Evaluator()
        expected = evaluator.run(before), evaluator.attentions
        actual = evaluator.run(after), evaluator.attentions
        if expected != actual:
            print(f"seed {seed}, program {number} changed its meaning:\n{before}\nbecame\n{after}")
            return 1
        rolled += evaluator.loops > 0
    print(f"{programs} programs keep their meaning, {rolled} have loops")
    return 0


sys.exit(main())
