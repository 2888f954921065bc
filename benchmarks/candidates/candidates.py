"""Tokens/s against the number of candidates, with the machine's limit and
peers: the picture of the README and the page it comes from."""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import measure  # noqa: E402


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--candidates", default="1,2,4,8,16,32,64,100,200")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peers", type=pathlib.Path, default=measure.ROOT / "build/peers/peers.json",
                        help="what benchmarks/peers/run --more wrote on this machine")
    parser.add_argument("--report", type=pathlib.Path, default=measure.ROOT / "build/candidates/report.html")
    parser.add_argument("--picture", type=pathlib.Path, default=measure.ROOT / "docs/candidates.svg")
    options = parser.parse_args()
    measure.print_machine(options)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    command = [options.build / "bin/chorus-bench", options.artifact, "--prompt-tokens", "256", "--generate", "64",
               "--candidates", options.candidates, "--threads", str(options.threads), "--repeat", str(options.repeat),
               "--report", options.report]
    if options.peers.exists():
        command += ["--peers", options.peers]
    if code := subprocess.run(command).returncode:
        return code
    picture = re.search(r"<svg.*?</svg>", options.report.read_text(), re.DOTALL)
    if not picture:
        print("the report has no plot")
        return 1
    style = ("<style>text{font:12px system-ui,sans-serif}</style>"
             "<rect width='100%' height='100%' fill='#fff'/>")
    text = picture.group(0).replace("role='img'>", f"role='img'>{style}", 1)
    options.picture.write_text(text + "\n")
    print(f"page {options.report}, picture {options.picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
