"""Answer requests with vLLM, for evaluation.py: `PYTHON _vllm.py MODEL DTYPE`, one JSON request and
answer a line, as _harness.py does.

Runs in vLLM's own environment; it imports nothing of comptrust. vLLM makes its batches itself.
"""

from __future__ import annotations

import json
import os
import sys
import time

# One process, so that its processor time is all of it.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")

from vllm import LLM, SamplingParams  # noqa: E402


def main() -> None:
    """Load the model, answer once to warm up, then answer greedily until the input ends."""
    model = LLM(sys.argv[1], dtype=sys.argv[2], enable_prefix_caching=True)
    tokenizer = model.get_tokenizer()

    def answer(texts: list[str], most: int) -> list[str]:
        settings = SamplingParams(temperature=0.0, max_tokens=most)
        asked = [
            {"prompt_token_ids": tokenizer(text, add_special_tokens=False)["input_ids"]}
            for text in texts
        ]
        found = model.generate(asked, settings, use_tqdm=False)
        return [one.outputs[0].text for one in found]

    answer(["Good morning."], 4)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        texts = answer(asked["texts"], asked["max_tokens"])
        seconds = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps({"texts": texts} | seconds), flush=True)


if __name__ == "__main__":
    main()
