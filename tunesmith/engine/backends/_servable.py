"""Which adapters vLLM applies exactly as trained: plain LoRAs whose every tensor has its place in the base."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tunesmith.engine.backends._identity import require_identity
from tunesmith.engine.backends._lora import is_plain_lora, read_lora, refuse_another_base
from tunesmith.errors import ModelError
from tunesmith.models.adapter import CONFIG_FILE

__all__ = ["PlainLoras"]


class PlainLoras:
    """What adapters of the base in `base_path` are held against."""

    def __init__(self, base_path: Path, base_digest: str, max_rank: int) -> None:
        self._base_path = base_path
        self._base_digest = base_digest
        self._max_rank = max_rank

    def require(self, digest: str, path: Path) -> None:
        """Raise ModelError unless vLLM can serve the adapter in `path` under `digest`."""
        require_identity(digest, path, self._base_digest)
        refuse_another_base(path)
        if not is_plain_lora(path):
            kind = json.loads((path / CONFIG_FILE).read_text()).get("peft_type")
            raise ModelError(
                f"vLLM cannot serve the adapter in {path}: it is of the kind {kind!r} and more than a plain LoRA "
                "(no DoRA, no other method, no new tokens).",
                hint="Serve it with --backend embedded, or merge it: tunesmith merge",
            )
        rank = max(factors.down.shape[1] for factors in read_lora(path, self._skeleton).values())
        if rank > self._max_rank:
            raise ModelError(
                f"The adapter in {path} has rank {rank}; this vLLM takes at most {self._max_rank}.",
                hint="Start vLLM with a larger --max-lora-rank, and give the backend the same max_lora_rank.",
            )

    @cached_property
    def _skeleton(self) -> Any:
        """The base model without weights: its modules and their shapes."""
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(self._base_path, local_files_only=True))
