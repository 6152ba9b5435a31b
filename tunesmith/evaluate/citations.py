"""The citations of an answer: from a field of its JSON, or from marks such as [3] in its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tunesmith.evaluate.json_answers import repaired
from tunesmith.types.report import Prediction

__all__ = ["cited", "context_ids"]

_MARK = re.compile(r"\[([^\[\]\n]{1,200})\](?!\()")
_ID = re.compile(r"[\w.:#/-]{1,64}")


def context_ids(row: Prediction) -> list[str] | None:
    """The ids of the contexts that the row's answer was given; None where it was given none to cite."""
    contexts = row.expect.get("contexts")
    return [str(each["id"]) for each in contexts if isinstance(each, dict)] if isinstance(contexts, list) else None


def cited(answer: str, known: Sequence[str], field: str) -> frozenset[str]:
    """The ids that `answer` cites.

    An answer that is a JSON object (also one that needs repair) cites what stands in its `field`: an id, or a list of
    ids or of objects with an `id`. Any other answer cites by marks: [1], [1, doc-2] or [1][doc-2], ids as in `known` or
    single words without spaces; what is a link ([text](address)) or several words is no citation.
    """
    found = next(repaired(answer), None)
    if found is not None and isinstance(found.value, dict) and "surrounding_text" not in found.repairs:
        return frozenset(_listed(found.value.get(field)))
    ids = set()
    for mark in _MARK.findall(answer):
        parts = [mark.strip()] if mark.strip() in known else [part.strip() for part in re.split(r"[,;]", mark)]
        if all(part in known or _ID.fullmatch(part) for part in parts):
            ids.update(parts)
    return frozenset(ids)


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    inner = [each.get("id") if isinstance(each, dict) else each for each in values]
    return [str(each) for each in inner if each is not None and each != ""]
