"""lit's configuration: which files are tests, and what their RUN lines see.

Tools are found through PATH: the build's bin folder first, then LLVM's
(FileCheck, not, count, split-file).

Features: `compiler` (chorus-opt, chorus-import and chorus-compile were built),
`x86-64-v4` (this CPU runs that level's code with VNNI), `sanitizers`.
Substitutions: %python (the test environment's Python), %test-tools, %source.
"""

import os

import lit.formats

config.name = "Chorus"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["data", "tools", "Integration", "Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.chorus_binary_dir, "test")

config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.chorus_binary_dir, "bin"), config.llvm_tools_dir,
     config.environment.get("PATH", "")])
config.environment["FILECHECK_OPTS"] = "--dump-input-filter=all"

if config.chorus_build_compiler:
    config.available_features.add("compiler")
if config.chorus_sanitize:
    config.available_features.add("sanitizers")

with open("/proc/cpuinfo") as cpuinfo:
    flags = next((line.split(":")[1].split() for line in cpuinfo if line.startswith("flags")), [])
if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"} <= set(flags):
    config.available_features.add("x86-64-v4")

config.substitutions += [
    ("%python", os.path.join(config.chorus_source_dir, ".venv/bin/python")),
    ("%test-tools", os.path.join(config.chorus_source_dir, "test/tools")),
    ("%source", config.chorus_source_dir),
]
