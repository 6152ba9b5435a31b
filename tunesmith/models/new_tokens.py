"""Rows of new tokens in the embedding (and in an output head of its own): grown, trained, saved and put back.

Only the new rows are trained, whatever the method: the weight that the model computes with is the frozen one with those
rows replaced. They are saved beside the adapter in a file of their own and replaced for good when it is attached.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tunesmith.errors import ModelError

__all__ = [
    "DERIVED_FILE",
    "INPUT",
    "OUTPUT",
    "ROWS_FILE",
    "NewRows",
    "at_start",
    "attach_rows",
    "derived_template",
    "grow_rows",
    "new_token_ids",
    "row_tensors",
    "save_rows",
    "train_rows",
]

DERIVED_FILE = "tunesmith-derived.json"
ROWS_FILE = "new_tokens.safetensors"
INPUT = "new_tokens.input"
OUTPUT = "new_tokens.output"
_IDS = "new_tokens.ids"
_ATTRIBUTE = "tunesmith_new_rows"


class NewRows(nn.Module):
    """A weight [V, H] with the rows `ids` replaced by trained ones [n, H], kept in float32."""

    ids: Tensor

    def __init__(self, weight: Tensor, ids: Tensor) -> None:
        super().__init__()
        self.register_buffer("ids", ids, persistent=False)
        self.rows = nn.Parameter(weight.detach()[ids].float().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """[V, H]; gradients reach the new rows only."""
        return weight.index_copy(0, self.ids, self.rows.to(weight.dtype))


def new_token_ids(base: Path) -> tuple[int, ...]:
    """Ids of the tokens that were added to the base in `base`; () for a base as it was."""
    file = base / DERIVED_FILE
    return tuple(json.loads(file.read_text())["new_token_ids"]) if file.is_file() else ()


def derived_template(base: Path) -> str:
    """The chat template that the base in `base` was given, by its name or as a text; '' for the tokenizer's own."""
    file = base / DERIVED_FILE
    return str(json.loads(file.read_text()).get("template") or "") if file.is_file() else ""


def grow_rows(model: Any, ids: Sequence[int], tokens: Sequence[str]) -> None:
    """Make room for `ids` and begin each new row near the mean of the others (Hewitt 2021), tied or not.

    A tenth of their deviation, drawn from the token's text, keeps new tokens apart.
    """
    before = {id(part): part.weight.shape[0] for part in _parts(model).values()}
    known = min(min(before.values()), min(ids))
    if max(ids) >= int(model.config.vocab_size):
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    with torch.no_grad():
        for part in _parts(model).values():
            old = part.weight[:known].float()
            mean, deviation = old.mean(0), old.std(0)
            for place, token in zip(ids, tokens, strict=True):
                seed = int.from_bytes(hashlib.sha256(token.encode()).digest()[:8], "big") >> 1
                noise = torch.randn(len(mean), generator=torch.Generator().manual_seed(seed))
                part.weight[place] = (mean + 0.1 * deviation * noise).to(part.weight.dtype)


def train_rows(model: Any, ids: Sequence[int], start: Path | None = None) -> None:
    """Let the rows `ids` of `model` (wrapped by a method or not) be trained, except where the method trains all.

    They begin as they are, or as those saved beside the adapter in the folder `start`.
    """
    inner = _inner(model)
    tied = OUTPUT not in _parts(inner)
    places = {name: part for name, part in _parts(inner).items() if not part.weight.requires_grad}
    if not ids or not places:
        return
    index = torch.tensor(list(ids), device=inner.device)
    added: dict[str, NewRows] = {}
    for name, part in places.items():
        added[name] = NewRows(part.weight, index)
    if start is not None and (start / ROWS_FILE).is_file():
        saved = load_file(start / ROWS_FILE)
        for name, own in added.items():
            own.rows.data.copy_(saved[name])
    for name, part in places.items():
        parametrize.register_parametrization(part, "weight", added[name])
    if tied:
        # A tied head computes with the same rows.
        parametrize.register_parametrization(inner.get_output_embeddings(), "weight", added[INPUT])
    setattr(inner, _ATTRIBUTE, {name: (rows, rows.rows.detach().clone()) for name, rows in added.items()})


def row_tensors(model: Any) -> dict[str, nn.Parameter]:
    """Name -> trained new rows [n, H]; empty where none are trained."""
    return {name: rows.rows for name, (rows, _) in _added(model).items()}


@contextmanager
def at_start(model: Any) -> Iterator[None]:
    """Inside the block the new rows are as they were before the first step."""
    added = _added(model)
    present = {name: rows.rows.data for name, (rows, _) in added.items()}
    for rows, start in added.values():
        rows.rows.data = start
    try:
        yield
    finally:
        for name, (rows, _) in added.items():
            rows.rows.data = present[name]


def save_rows(model: Any, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write the new rows in `state`, with the ids that `model` has for them, beside the adapter in `folder`."""
    added = _added(model)
    if added:
        tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(added)}
        ids = next(iter(added.values()))[0].ids.cpu()
        save_file({**tensors, _IDS: ids}, folder / ROWS_FILE, metadata={"format": "pt"})


def attach_rows(model: Any, folder: Path) -> None:
    """Replace the rows saved in `folder`, if any, in new parameters; the old ones stay as they are.

    Raises ModelError when they do not fit the model.
    """
    if not (folder / ROWS_FILE).is_file():
        return
    saved = load_file(folder / ROWS_FILE)
    ids = saved.pop(_IDS)
    inner = _inner(model)
    places = _parts(inner)
    if not set(saved) <= set(places):
        raise ModelError(f"The new tokens in {folder} are for {sorted(saved)}, the model has {sorted(places)}.")
    for name, rows in saved.items():
        old = places[name].weight
        if rows.shape[1] != old.shape[1] or int(ids.max()) >= old.shape[0]:
            raise ModelError(
                f"The new tokens in {folder} do not fit the model: {tuple(rows.shape)} in {tuple(old.shape)}."
            )
        fresh = nn.Parameter(old.detach().index_copy(0, ids.to(old.device), rows.to(old.device, old.dtype)))
        for module in inner.modules():
            for key, parameter in list(module._parameters.items()):
                if parameter is old:
                    module._parameters[key] = fresh.requires_grad_(False)


def _parts(model: Any) -> dict[str, Any]:
    """The embedding, and the output head where it has a weight of its own."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return {INPUT: embedding} if head.weight is embedding.weight else {INPUT: embedding, OUTPUT: head}


def _added(model: Any) -> dict[str, tuple[NewRows, Tensor]]:
    found: dict[str, tuple[NewRows, Tensor]] = getattr(_inner(model), _ATTRIBUTE, {})
    return found


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
