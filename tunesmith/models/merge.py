"""An adapter worked into its base's weights: a complete model folder, and what that cost, measured.

Merging is exact in real numbers for every method that only changes weights; what is lost is lost by rounding, to
bfloat16 or to four bits. So the merged folder is loaded again as anybody would load it, and the log-probabilities of
every token of some probe rows are compared with those of base and adapter apart, all computed in float32.
"""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tunesmith.errors import ModelError
from tunesmith.models.adapter import adapter_digest, read_adapter, read_identity
from tunesmith.models.attach import attach, method_of
from tunesmith.models.merged import merge_peft
from tunesmith.models.new_tokens import attach_rows
from tunesmith.models.quantised import expand_layers, require_bitsandbytes, require_whole_blocks
from tunesmith.models.virtual_adapters import is_virtual
from tunesmith.models.weights import BaseFiles, load_base
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message

__all__ = ["MERGE_FILE", "PROBE_CONVERSATIONS", "MergeOptions", "MergeRecord", "merge"]

MERGE_FILE = "tunesmith-merge.json"
FAITHFUL, ERASED = 0.05, 0.5
# Compared where no rows of the adapter's own data are at hand.
PROBE_CONVERSATIONS = tuple(
    Conversation(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))
    for question, answer in (
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Is this review positive or negative? I would buy it again.", "positive"),
        ("Write a function that adds two numbers.", "def add(a, b):\n    return a + b"),
        ("My card was charged twice for one order, and nobody answers.", '{"topic": "duplicate charge"}'),
    )
)
_NOT_COPIED = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.gguf", "config.json", "tunesmith-base.json")


class MergeOptions(Value):
    """`precision` of the saved weights (auto: the base's own); `quantise: nf4` rounds them to four bits after that."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    quantise: Literal["no", "nf4"] = "no"


class MergeRecord(Value):
    """What a merge gave, in mean absolute differences of natural-log probabilities per token of the probe rows."""

    method: str
    base: str
    base_digest: str
    adapter_digest: str
    precision: str
    rows: int
    tokens: int
    effect: float
    """how far base and adapter are from the base alone"""
    drift: float
    """how far the merged model is from base and adapter"""
    largest_drift: float

    @property
    def verdict(self) -> Literal["faithful", "degraded", "erased"]:
        """Drift below 1/20 of the effect is faithful, above half of it the tune is as good as erased."""
        share = self.drift / max(self.effect, 1e-12)
        return "faithful" if share <= FAITHFUL else "erased" if share > ERASED else "degraded"


def merge(
    base: BaseFiles, adapter: Path, out: Path, probe: Sequence[Sequence[int]], options: MergeOptions
) -> MergeRecord:
    """Write the model that `base` with the adapter in `adapter` is to the new folder `out`; what it cost.

    `out` appears only when it is complete: weights, configuration, tokenizer and the record. Raises ModelError when the
    method cannot be merged, the adapter is not of this base, a value is not finite, or a merge would be rounded to a
    quantised base without having been asked for.
    """
    _check(base, adapter, out, options)
    found = read_adapter(adapter)
    own = method_of(found.config)
    if is_virtual(found.config):
        raise ModelError(
            "Virtual tokens cannot be merged: they are no change of weights.", hint="Serve them as they are."
        )
    model = load_base(base.path, "float32")
    require_whole_blocks(model, options.quantise == "nf4")
    alone = _logprobs(model, probe)
    apart = _logprobs(attach(model, adapter), probe)
    del model
    gc.collect()
    plain = load_base(base.path, "float32")
    expand_layers(plain)
    merged = own.merge(plain, found) if own is not None else merge_peft(attach(plain, adapter))
    attach_rows(merged, adapter)
    precision = _own_precision(base.path) if options.precision == "auto" else options.precision
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merge-") as temporary:
        draft = _save(merged, base.path, Path(temporary), precision)
        del merged, plain
        gc.collect()
        if options.quantise == "nf4":
            draft = _quantise(draft, base.path, Path(temporary))
        together = _logprobs(load_base(draft, "float32"), probe)
        gaps = (together - apart).abs()
        record = MergeRecord(
            method=type(own).type_name() if own is not None else str(found.config["peft_type"]),
            base=base.name,
            base_digest=base.digest,
            adapter_digest=adapter_digest(adapter),
            precision=options.quantise if options.quantise != "no" else precision,
            rows=len(probe),
            tokens=len(gaps),
            effect=float((apart - alone).abs().mean()),
            drift=float(gaps.mean()),
            largest_drift=float(gaps.max()),
        )
        (draft / MERGE_FILE).write_text(record.model_dump_json(indent=2) + "\n")
        draft.rename(out)
    return record


def _check(base: BaseFiles, adapter: Path, out: Path, options: MergeOptions) -> None:
    if out.exists():
        raise ModelError(f"{out} exists already.", hint="Name a folder that does not exist yet.")
    identity = read_identity(adapter)
    if identity is not None and identity.base_digest != base.digest:
        raise ModelError(
            f"The adapter in {adapter} was tuned on {identity.base!r} ({identity.base_digest[:12]}), "
            f"not on {base.name!r} ({base.digest[:12]})."
        )
    broken = [name for name, tensor in read_adapter(adapter).tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(f"The adapter in {adapter} has values that are not finite: {', '.join(broken[:3])}.")
    if options.quantise == "nf4":
        require_bitsandbytes()
    elif "quantization_config" in json.loads((base.path / "config.json").read_text()):
        raise ModelError(
            f"The base {base.name!r} is quantised: merged weights would be rounded to its few levels again.",
            hint="Ask for it with --quantise nf4 and see the measured loss, or merge into the base it was made from.",
        )


def _save(model: Any, base: Path, folder: Path, precision: str) -> Path:
    broken = [name for name, tensor in model.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(f"Merged weights are not finite: {', '.join(broken[:3])}.")
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    place = folder / "merged"
    model.to(getattr(torch, precision)).save_pretrained(place)
    _copy_rest(base, place)
    return place


def _quantise(merged: Path, base: Path, folder: Path) -> Path:
    """The merged model in four bits, as transformers keeps it."""
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    model = AutoModelForCausalLM.from_pretrained(merged, quantization_config=config, local_files_only=True)
    place = folder / "quantised"
    model.save_pretrained(place)
    _copy_rest(base, place)
    return place


def _copy_rest(base: Path, place: Path) -> None:
    """Tokenizer, chat template and whatever else belongs to the base, byte by byte."""
    left_out = {file for pattern in _NOT_COPIED for file in base.glob(pattern)}
    for file in base.iterdir():
        if file.is_file() and file not in left_out and not file.name.startswith("."):
            shutil.copyfile(file, place / file.name)


def _own_precision(base: Path) -> str:
    config = json.loads((base / "config.json").read_text())
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return name if name in ("float32", "bfloat16", "float16") else "float32"


def _logprobs(model: Any, probe: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities of all tokens of all rows but each row's first, in one line."""
    parts = []
    with torch.inference_mode():
        for row in probe:
            ids = torch.tensor([list(row)], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            parts.append(torch.log_softmax(logits, -1).gather(1, ids[0, 1:, None]).squeeze(1).cpu())
    return torch.cat(parts)
