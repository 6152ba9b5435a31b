"""The peer: TRL's SFTTrainer with LoRA on a chat JSONL file. Prints one JSON line.

    python bench/peer_trl.py --model DIR --data rows.jsonl --batch 16 --steps 6 --precision float32

Counts effective tokens (every token of every row, padding not counted) over the steps after the first two. The loss is
on the last assistant message only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WARM_UP = 2


def arguments() -> argparse.Namespace:
    """The command line both sides share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    return parser.parse_args()


def main() -> None:
    """Train and print tokens per second, peak memory and the losses."""
    given = arguments()
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    lines = Path(given.data).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines][: given.batch * given.steps]
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=getattr(torch, given.precision))
    lengths = [len(tokenizer.apply_chat_template(row["messages"], return_dict=True)["input_ids"]) for row in rows]
    losses: list[float] = []
    mark: dict[str, float] = {}

    class Clock(TrainerCallback):
        """Starts the clock after the warm-up and keeps the losses."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Start timing once the warm-up steps are done."""
            if state.global_step == WARM_UP:
                mark["start"] = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            """Keep each step's loss."""
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=given.batch,
        max_steps=given.steps,
        learning_rate=given.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        max_length=2048,
        gradient_checkpointing=False,
        completion_only_loss=True,
        dataloader_pin_memory=False,
        shuffle_dataset=False,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(
            [{"prompt": r["messages"][:-1], "completion": r["messages"][-1:]} for r in rows]
        ),
        processing_class=tokenizer,
        callbacks=[Clock()],
        peft_config=LoraConfig(
            r=given.rank,
            lora_alpha=2 * given.rank,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    # Rows in file order on both sides, so that the loss curves can be compared step by step.
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(trainer.train_dataset)
    trainer.train()
    seconds = time.perf_counter() - mark["start"]
    report(lengths[WARM_UP * given.batch :], seconds, losses)


def report(lengths: list[int], seconds: float, losses: list[float]) -> None:
    """One JSON line."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tokens = sum(lengths)
    result = {"tokens_per_second": tokens / seconds, "seconds": seconds, "peak_mb": peak, "losses": losses}
    print(json.dumps({"side": "trl", "tokens": tokens, **result}))


if __name__ == "__main__":
    main()
