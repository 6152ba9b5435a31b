"""The peer's side: one of TRL's trainers on the token ids of a prepared workload. Prints one JSON line.

    python -m bench.peer job.json

TRL runs in its fastest setting here: no gradient checkpointing, no padding beyond the batch's longest row, no logging
to anybody. Data are tokenised beforehand on both sides, so only training is timed.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from typing import Any

import torch
from peft import LoraConfig
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from bench.clock import Clock, Reading, peak_bytes
from bench.side import Job, Result, given_job, timed
from bench.workload import Workload, workload_of

__all__ = ["main", "train_peer"]

SEED = 0
"""as in our recipe: adapters of both sides begin as the same numbers"""


def main() -> None:
    """Train the job and print its result."""
    print(train_peer(given_job()).model_dump_json())


def train_peer(job: Job) -> Result:
    """Train with TRL and report what it took."""
    workload = workload_of(job.workload)
    steps = json.loads(job.tokens_file.read_text())
    trainer_of = importlib.import_module(f"bench.peers.{workload.peer}").make_trainer
    watch = _Watch()
    model = AutoModelForCausalLM.from_pretrained(job.base, dtype=getattr(torch, job.precision))
    trainer = trainer_of(
        steps,
        _options(job, workload),
        model=model,
        processing_class=AutoTokenizer.from_pretrained(job.base),
        callbacks=[watch],
        peft_config=None if workload.full else _lora(job.rank),
    )
    # Rows in the order given, so that the curves can be compared step by step.
    trainer._get_train_sampler = lambda *_: SequentialSampler(trainer.train_dataset)
    trainer.train()
    spent = timed(watch.clock, job.warm_up, Reading(0.0, 0.0), 0.0)
    return Result(
        seconds=spent.seconds,
        processor_seconds=spent.processor_seconds,
        peak_bytes=peak_bytes(),
        losses=tuple(watch.losses),
        gradient_norms=tuple(watch.gradient_norms),
    )


class _Watch(TrainerCallback):
    """Times the steps and keeps both curves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.losses: list[float] = []
        self.gradient_norms: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A training step ends."""
        self.clock.step_done()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keep what a step logs."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.gradient_norms.append(float(logs["grad_norm"]))


def _options(job: Job, workload: Workload) -> dict[str, Any]:
    """What all trainers are told."""
    return {
        "output_dir": tempfile.mkdtemp(dir=job.folder),
        "per_device_train_batch_size": job.batch,
        "max_steps": job.steps,
        "learning_rate": workload.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": SEED,
        "bf16": False,
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
    }


def _lora(rank: int) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


if __name__ == "__main__":
    main()
