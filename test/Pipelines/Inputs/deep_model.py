"""Brings decoders of 500 and of 2,000 layers to the fused form and compares the
processor time. Four times the layers may take up to ten times as long, which
leaves room for noise and for n log n; quadratic work would take sixteen times.
"""

import resource
import subprocess
import sys

ROWS, WEIGHT = "tensor<?x?x64xf32>", "64x64x!transformer.q4_1"
PHASES = "builtin.module(chorus-graph,chorus-raise,chorus-derive,chorus-fuse)"


def decoder(layers):
    yield f"""func.func @main(%tokens: tensor<?x?xi32> {{transformer.name = "tokens"}}) -> ({ROWS} {{transformer.name = "logits"}}) {{
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %e = transformer.parameter "m" ["e"] : tensor<{WEIGHT}>
  %x0 = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<{WEIGHT}> -> {ROWS}"""
    for i in range(layers):
        def linear(result, operand):
            return (f'  %w{result}{i} = transformer.parameter "m" ["{i}.{result}"] : tensor<{WEIGHT}>\n'
                    f"  %{result}{i} = transformer.linear %{operand}{i}, %w{result}{i} : ({ROWS}, tensor<{WEIGHT}>) -> {ROWS}")

        def norm(result, operand):
            return (f'  %w{result}{i} = transformer.parameter "m" ["{i}.{result}"] : tensor<64xf32>\n'
                    f"  %{result}{i} = transformer.rms_norm %{operand}{i}, %w{result}{i} epsilon = 1.0e-05 : {ROWS}, tensor<64xf32>")

        def rotary(result, operand):
            return f"  %{result}{i} = transformer.rotary adjacent %{operand}{i}, %table head_dim = 16 : {ROWS}, tensor<128x8x2xf32>"

        yield from (norm("n", "x"), linear("q", "n"), linear("k", "n"), linear("v", "n"), rotary("qr", "q"), rotary("kr", "k"))
        yield f"  %a{i} = transformer.attention causal %qr{i}, %kr{i}, %v{i} heads = 4 kv_heads = 4 scale = 2.5e-01 : {ROWS}, {ROWS}"
        yield from (linear("o", "a"), f"  %h{i} = arith.addf %o{i}, %x{i} : {ROWS}", norm("m", "h"), linear("g", "m"), linear("u", "m"))
        yield f"  %s{i} = transformer.glu silu %g{i}, %u{i} : {ROWS}"
        yield from (linear("d", "s"), f"  %x{i + 1} = arith.addf %d{i}, %h{i} : {ROWS}")
    yield f"  return %x{layers} : {ROWS}\n}}"


def processor_time():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compile_model(layers):
    before = processor_time()
    run = subprocess.run(["chorus-opt", f"--pass-pipeline={PHASES}"], text=True, check=True,
                         input="\n".join(decoder(layers)), stdout=subprocess.PIPE)
    count = run.stdout.count("transformer.attention")
    print(f"{layers} layers: {count} attention in the text")
    return processor_time() - before


compile_model(1)  # Loads the libraries.
start = compile_model(1)
short, long = (compile_model(layers) - start for layers in (500, 2000))
print(f"{short:.2f} s and {long:.2f} s")
if long > 10 * short:
    sys.exit("time grows faster than the number of layers")
print("time grows with depth as it should")
