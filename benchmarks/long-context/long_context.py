"""One row at position 4,096 with an f16 cache: its decode time against the time
that its bytes, weights and cache, need at the read bandwidth of this run,
measured over a buffer of their size."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402

BAR, POSITION, GENERATED = 1.3, 4096, 32


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    model = measure.inspect(options)
    facts, (state,) = model["models"][0]["facts"], model["models"][0]["states"]
    if state["dtype"] != "f16":
        raise SystemExit(f"the artifact has a cache of {state['dtype']}, needed is f16")
    weights = model["segments"][model["models"][0]["weights_segment"]]["size"]
    # Of the table of angles one row is read.
    weights -= model["models"][0]["context_length"] * facts["head_dim"] * 4

    def decode(position, cache):
        """Prints and returns (s a step, s that its bytes need, both at the median)."""
        figure = measure.bench(options, position - GENERATED // 2, GENERATED, 1, options.repeat,
                               read_buffer=weights + cache)
        needed = (weights + cache) / (figure["limits"]["read_GB_s"] * 1e9)
        times = sorted(1 / sample["decode_tok_s"] for sample in figure["samples"])
        step = 1 / figure["decode_tok_s"]
        print(f"position {position:5d}: {step * 1e3:6.2f} ms a step ({times[0] * 1e3:.2f} to {times[-1] * 1e3:.2f}, "
              f"{len(times)} runs); {weights / 1e6:.0f} MB weights + {cache / 1e6:.0f} MB cache at "
              f"{figure['limits']['read_GB_s']:.1f} GB/s need {needed * 1e3:.2f} ms: {step / needed:.2f}x", flush=True)
        return step, needed

    measure.print_machine(options)
    near, _ = decode(64, 64 // state["page_positions"] * state["page_bytes"])
    cache = POSITION // state["page_positions"] * state["page_bytes"]
    step, needed = decode(POSITION, cache)
    print(f"the cache's {cache / 1e6:.0f} MB take {(step - near) * 1e3:.2f} ms: {cache / (step - near) / 1e9:.1f} GB/s")
    print(f"{step / needed:.2f}x the time of its bytes, at most {BAR} allowed: "
          f"{'reached' if step / needed <= BAR else 'missed'}")
    return 0 if step / needed <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
