"""Chorus against llama.cpp on this machine: the table that `run` prints."""

import itertools
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import llama_cpp  # noqa: E402

import known_figures  # noqa: E402
import measure  # noqa: E402

# name: (prompt, generated, candidates, which figure, words)
WORKLOADS = {
    "prefill": (512, 1, 1, "prefill_tok_s", "prefill of 512 tokens"),
    "decode": (32, 64, 1, "decode_tok_s", "decode, one sequence"),
    "candidates": (256, 64, 100, "total_tok_s", "100 candidates x 64, 256-token prompt, in all"),
}
SHOWN_ONLY = {
    "8 candidates": (256, 64, 8, "total_tok_s", "8 candidates x 64, 256-token prompt, in all"),
    "32 candidates": (256, 64, 32, "total_tok_s", "32 candidates x 64, 256-token prompt, in all"),
}


def theirs(options, workload, setting, seed, model=None):
    prompt, generate, n, figure, _ = workload
    task = {"prompt": prompt, "generate": generate, "candidates": n, "threads": options.threads, "seed": seed,
            "wave": 0, **setting}
    done = subprocess.run([sys.executable, HERE / "llama_worker.py", str(model or options.model),
                           json.dumps(task)], capture_output=True, text=True)
    if done.returncode:
        return None
    return json.loads(done.stdout)[figure]


def openvino(options, workload, seed):
    """OpenVINO GenAI's figure, or None where it is not installed."""
    prompt, generate, n, figure, _ = workload
    task = {"prompt": prompt, "generate": generate, "candidates": n, "threads": options.threads, "seed": seed}
    done = subprocess.run([options.openvino, HERE / "openvino_worker.py", str(options.model), json.dumps(task)],
                          capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])[figure] if done.returncode == 0 else None


def ours(options, workload):
    prompt, generate, n, figure, _ = workload
    # chorus-bench needs a second token for its decode figure; prefill has none in it.
    return measure.bench(options, prompt, max(2, generate), n)[figure]


def settings(n):
    """The peer's settings that are tried for n sequences."""
    extra = [False] if "amx_int8" in measure.cpu()[4] else [False, True]
    unified = [True] if n == 1 else [True, False]
    for flash, ubatch, one_cache, buffers in itertools.product([False, True], [128, 512], unified, extra):
        yield {"flash": flash, "ubatch": ubatch, "unified": one_cache, "extra": buffers}


def words(setting):
    return (f"flash attention {'on' if setting['flash'] else 'off'}, ubatch {setting['ubatch']}, "
            f"{'one cache' if setting['unified'] else 'a cache each'}, "
            f"repacking {'on' if setting['extra'] else 'off'}")


def best_setting(options, workload):
    """Each setting is tried twice; the better of two counts."""
    results = []
    for setting in settings(workload[2]):
        speeds = [theirs(options, workload, setting, seed) for seed in (1, 2)]
        speeds = [s for s in speeds if s]
        if speeds:
            results.append((max(speeds), setting))
            print(f"    {max(speeds):8.1f}  {words(setting)}", flush=True)
    if not results:
        raise SystemExit("llama.cpp ran with no setting")
    return max(results, key=lambda r: r[0])


def requantised(options, name, kind):
    """The model in another weight type of the peer's, for show."""
    out = measure.ROOT / f"build/peers/model-{name}.gguf"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.allow_requantize = kind, True
        if llama_cpp.llama_model_quantize(str(options.model).encode(), str(out).encode(), parameters):
            return None
    return out


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--json", type=pathlib.Path, default=measure.ROOT / "build/peers/peers.json",
                        help="also write the figures here, for chorus-bench --peers")
    parser.add_argument("--openvino", metavar="PYTHON", default=sys.executable,
                        help="a Python with openvino-genai, which is then shown too (no bar)")
    parser.add_argument("--more", action="store_true", help="also 8 and 32 candidates, waves, weight types")
    options = parser.parse_args()
    system = llama_cpp.llama_print_system_info().decode()
    measure.print_machine(options, **{"llama.cpp": f"llama-cpp-python {llama_cpp.__version__}, {system}"})
    vendor, family, model, _, _ = measure.cpu()
    known = known_figures.FIGURES.get((vendor, family, model)) if options.threads == 2 else None
    if not known:
        print("no figures are known for this CPU and number of threads: no bars hold")

    void, missed, figures, limits_shown = [], [], {}, False
    table = []
    for name, workload in {**WORKLOADS, **(SHOWN_ONLY if options.more else {})}.items():
        print(f"\n{workload[4]}: settings of llama.cpp, tokens/s", flush=True)
        _, setting = best_setting(options, workload)
        pairs = []
        for i in range(max(5, options.pairs)):
            pairs.append((ours(options, workload), theirs(options, workload, setting, 10 + i)))
            print(f"    pair {i}: {pairs[-1][0]:8.1f} {pairs[-1][1]:8.1f}", flush=True)
        if not limits_shown:
            measure.print_limits(measure.bench(options, 32, 8, 1))
            limits_shown = True
        ratio = measure.Ratio(pairs)
        figures[name] = {"chorus_tok_s": ratio.ours, "llama_cpp_tok_s": ratio.theirs, "ratio": ratio.median,
                         "least": ratio.least, "most": ratio.most, "setting": setting}
        remark = ""
        if known and name in known:
            bar = known_figures.BARS[name]
            if ratio.theirs < known_figures.FACTOR * known[name]:
                void.append(name)
                remark = f"void: the peer is below 0.8 of {known[name]}"
            else:
                remark = f"bar {bar}x: {'held' if ratio.median >= bar else 'missed'}"
                if ratio.median < bar:
                    missed.append(name)
        table.append((workload[4], ratio, remark, setting))

    if options.more:
        print("\nllama.cpp in other ways, tokens/s (not compared)")
        best = figures["candidates"]["setting"]
        for wave in (8, 32):
            speed = theirs(options, WORKLOADS["candidates"], {**best, "wave": wave}, 30)
            print(f"    100 candidates in waves of {wave}: {speed:.1f}")
        for label, kind in (("Q4_0", 2), ("Q8_0", 7)):
            path = requantised(options, label, kind)
            for name, workload in WORKLOADS.items():
                speeds = [theirs(options, workload, {**figures[name]["setting"], "extra": extra}, 31, path)
                          for extra in {s["extra"] for s in settings(1)}] if path else []
                print(f"    {label}, {workload[4]}: {max([s for s in speeds if s], default=0):.1f}")

    print(f"\n{'':48s} {'Chorus':>9s} {'llama.cpp':>9s}  ratio (spread)")
    for text, ratio, remark, setting in table:
        print(f"{text:48s} {ratio.ours:9.1f} {ratio.theirs:9.1f}  {ratio}  {remark}")
        print(f"{'':48s} best setting of llama.cpp: {words(setting)}")
    for name, workload in WORKLOADS.items():
        speeds = [s for s in (openvino(options, workload, seed) for seed in (40, 41, 42)) if s]
        if not speeds:
            print("OpenVINO GenAI: not installed")
            break
        figures[name]["openvino_tok_s"] = statistics.median(speeds)
        print(f"OpenVINO GenAI, {workload[4]}: {statistics.median(speeds):.1f}", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"peer": f"llama-cpp-python {llama_cpp.__version__}", "threads": options.threads,
                                        "figures": figures}, indent=1) + "\n")
    if void:
        print(f"void: {', '.join(void)}")
        return 2
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
