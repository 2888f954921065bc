"""What llama.cpp 0.3.36 reaches with SmolLM2-135M-Instruct Q4_1 on two quiet
threads, in tokens/s, by CPU: the lower end of what was seen. A run in which it
stays below 0.8 of these is void, since something else was running or the peer
was not built as it should be."""

# (vendor, family, model): {workload: tokens/s}
FIGURES = {
    # AMD Zen 4
    ("AuthenticAMD", 25, 17): {"prefill": 306, "decode": 96, "candidates": 153},
    # Intel Xeon without AMX
    ("GenuineIntel", 6, 207): {"prefill": 258, "decode": 101, "candidates": 117},
    # Intel Xeon with AMX
    ("GenuineIntel", 6, 167): {"prefill": 290, "decode": 81, "candidates": 147},
}
FACTOR = 0.8

# What Chorus must reach, as a ratio to the best setting of the peer.
BARS = {"prefill": 2.0, "decode": 1.3, "candidates": 4.0}
