"""Attention alone, of a model with SmolLM2's heads: shares of the f32 peak, and
rows that share pages against the plain path and against copies of their own."""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402
import model  # noqa: E402

# Of the time with own copies, 64 rows over 4,096 positions.
OWN_BAR, OWN_BAR_INTEL = 0.75, 0.5


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--heads", default="9,3,64", help="heads, kv heads, head_dim")
    parser.add_argument("--cpu", default="auto", help="code to run")
    parser.add_argument("--cases", action="store_true", help="without the table of prefixes by rows")
    options = parser.parse_args()
    measure.print_machine(options)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        artifact = pathlib.Path(folder) / "attention.chorus"
        source = model.write(pathlib.Path(folder), *map(int, options.heads.split(",")))
        subprocess.run([options.build / "bin/chorus-compile", source, "-o", artifact, "--quiet"], check=True)

        def step(*arguments):
            nonlocal failed
            done = subprocess.run([options.build / "bin/attention-step", "measure", artifact, "--cpu", options.cpu,
                                   "--threads", str(options.threads), "--pairs", str(options.pairs), *arguments])
            failed |= done.returncode != 0

        print("\nEvery step reads other pages, as the layers of a model do:", flush=True)
        step()
        print("\nEvery step reads the same pages:", flush=True)
        step("--warm")
        if not options.cases:
            print("\nDecode rows with one own position each, by length of the shared prefix:", flush=True)
            bar = OWN_BAR_INTEL if measure.cpu()[0] == "GenuineIntel" else OWN_BAR
            step("--crossing", "--own-bar", str(bar))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
