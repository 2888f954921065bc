"""One measurement of OpenVINO GenAI, where it is installed; prints one JSON
object. It reads the GGUF file itself.

    openvino_worker.py MODEL '{"prompt": 256, "generate": 64, "candidates": 100, "threads": 2, "seed": 1}'
"""

import json
import random
import sys
import time

import numpy
import openvino
import openvino_genai


def main():
    path, task = sys.argv[1], json.loads(sys.argv[2])
    prompt, generate, n = task["prompt"], task["generate"], task["candidates"]
    start = time.perf_counter()
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 4  # GB
    scheduler.max_num_batched_tokens = max(512, prompt)
    scheduler.max_num_seqs = n
    scheduler.enable_prefix_caching = False
    pipeline = openvino_genai.LLMPipeline(path, "CPU", scheduler_config=scheduler,
                                          INFERENCE_NUM_THREADS=task["threads"])
    loaded = time.perf_counter() - start
    config = openvino_genai.GenerationConfig()
    config.ignore_eos = config.do_sample = True
    config.temperature, config.num_return_sequences = 0.8, n
    config.apply_chat_template = False
    draw = random.Random(task["seed"])

    def run(tokens):
        config.max_new_tokens = tokens
        ids = numpy.array([[draw.randrange(3, 40000) for _ in range(prompt)]], numpy.int64)
        begin = time.perf_counter()
        metrics = pipeline.generate(openvino.Tensor(ids), config).perf_metrics
        return time.perf_counter() - begin, metrics

    run(2)  # Makes buffers and starts threads: not measured.
    seconds, metrics = run(generate)
    first = metrics.get_ttft().mean / 1000
    print(json.dumps({
        "prefill_tok_s": prompt / first,
        "decode_tok_s": n * (generate - 1) / (seconds - first) if generate > 1 else None,
        "total_tok_s": n * generate / seconds,
        "load_s": loaded,
    }))


if __name__ == "__main__":
    main()
