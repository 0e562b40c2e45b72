"""Answer requests with lm-evaluation-harness's HFLM, for evaluation.py: `PYTHON _harness.py MODEL
DTYPE`, one JSON request and answer a line.

Runs in an environment of its own, which holds lm-eval; it imports nothing of comptrust. A request
is {"texts", "max_tokens", "batch_size"}.
"""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace

from lm_eval.models.huggingface import HFLM


def main() -> None:
    """Load the model and answer greedily until the input ends."""
    model = HFLM(
        pretrained=sys.argv[1], dtype=sys.argv[2], device="cpu", batch_size=1, add_bos_token=False
    )
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        model.batch_size_per_gpu = asked["batch_size"]
        settings = {
            "until": [],
            "max_gen_toks": asked["max_tokens"],
            "do_sample": False,
            "temperature": 0.0,
        }
        requests = [SimpleNamespace(args=(text, settings)) for text in asked["texts"]]
        wall, cpu = time.perf_counter(), time.process_time()
        texts = model.generate_until(requests, disable_tqdm=True)
        print(
            json.dumps(
                {
                    "texts": texts,
                    "seconds": time.perf_counter() - wall,
                    "cpu": time.process_time() - cpu,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
