"""What prepare keeps in memory of a row while the row itself lies on disk: 100 bytes, whatever the row says.

Texts become 64-bit keys: the first 8 bytes of a SHA-256. Two different texts share one with a chance of about
n^2 / 2^65: 3e-8 for a million rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.content import answer_key, prompt_key, subject_key
from tunesmith.prepare.families import FAMILY
from tunesmith.prepare.instant import instant
from tunesmith.types.conversation import Rendered, Shape
from tunesmith.types.dataset import SPLITS
from tunesmith.types.preference import Row

__all__ = ["AUTO", "PLACES", "RECORD", "SHAPES", "Keys", "Records", "early_record_of", "key_of", "record_of"]

PLACES = (*SPLITS, "auto")
"""The splits a row can be in; its code is the place in this tuple."""

AUTO = PLACES.index("auto")

SHAPES: tuple[Shape, ...] = get_args(Shape)

RECORD = np.dtype(
    [
        ("source", np.int32),  # index of the file
        ("line", np.int32),
        ("shape", np.int8),
        ("split", np.int8),
        ("reason", np.int16),  # 0: not dropped
        ("of", np.int32),  # the row it repeats, -1: none
        ("tokens", np.int32),
        ("longest", np.int32),
        ("trained", np.int32),
        ("subject", np.uint64),  # what it gives an answer to, as `deduplicate` compares
        ("home", np.uint64),  # its prompt, as `deduplicate` compares
        ("answer", np.uint64),  # its answer, as `deduplicate` compares
        ("prompt", np.uint64),  # its prompt, normalised
        ("reference", np.uint64),  # the text of its answer
        ("system", np.uint64),  # the system prompt it opens with, 0: none
        ("group", np.uint64),  # the field it is split by, 0: none
        ("family", np.uint64),  # the family that augmentation gave it, 0: none
        ("time", np.float64),  # seconds since 1970, nan: none
    ]
)

_NAMES: tuple[str, ...] = RECORD.names or ()

Records = npt.NDArray[np.void]


class Keys(NamedTuple):
    """How rows are compared: `exact` or normalised; the metadata fields that hold their group and their time."""

    exact: bool
    group: str | None
    time: str | None


def key_of(text: str) -> int:
    """64 bits of `text`; 0 only for the empty text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") or 1 if text else 0


def record_of(content: Row, rendered: Sequence[Rendered], keys: Keys) -> tuple[int | float, ...]:
    """The fields of `RECORD` from `tokens` on.

    Raises DataError when the field that holds the row's group or time is missing or says nothing.
    """
    sizes = [len(each.token_ids) for each in rendered]
    conversation = content.conversations[0]
    opening = conversation.messages[0]
    home = key_of(prompt_key(content, exact=keys.exact))
    return (
        sum(sizes),
        max(sizes, default=0),
        sum(each.trained_tokens for each in rendered),
        key_of(subject_key(content, exact=keys.exact)),
        home,
        key_of(answer_key(content, exact=keys.exact)),
        key_of(prompt_key(content)) if keys.exact else home,
        key_of(conversation.reference),
        key_of(opening.content or "") if opening.role in ("system", "developer") else 0,
        key_of(_field(content, keys.group, "prepare.split.by")) if keys.group else 0,
        key_of(content.metadata.get(FAMILY, "")),
        instant(_field(content, keys.time, "prepare.split.time.field"), keys.time) if keys.time else np.nan,
    )


def early_record_of(content: Row) -> tuple[int | float, ...]:
    """As `record_of` before a row is finished: only what the labels are found by."""
    reference = key_of(content.conversations[0].reference)
    return tuple(reference if name == "reference" else 0 for name in _NAMES[_NAMES.index("tokens") :])


def _field(content: Row, name: str, key: str) -> str:
    value = content.metadata.get(name, "")
    if not value.strip():
        there = ", ".join(map(repr, content.metadata)) or "none"
        fix = f"add it to the row, or name another under {key}; the row's other fields: {there}"
        raise DataError([Problem("is missing or empty", field=name, fix=fix)])
    return value
