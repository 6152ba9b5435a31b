"""Finds rows that answer the same question differently: a model cannot learn both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.content import answer_key, subject_key
from tunesmith.prepare.step import Finding, Judgement, RowsSeen
from tunesmith.prepare.texts import answers
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Conflicts"]

_DIGEST = 8
_LONGEST = 60
_SHOWN = 5


class Conflicts(Value):
    """Rows with the same input (case and white space aside) and different answers, as annotators leave them.

    `action`: report; drop all rows of such an input; or keep those with its most frequent answer, where one is more
    frequent than every other, and drop the others (all, on a tie). Rows that repeat an answer are no conflict.
    """

    action: Literal["report", "drop", "majority"] = "report"

    def open(self, folder: Path) -> Callable[[Row], bytes]:
        """The measure: 8 bytes of a digest of the input, 8 of the answer's."""

        def measure(row: Row) -> bytes:
            return bytes.fromhex(subject_key(row)[: 2 * _DIGEST] + answer_key(row)[: 2 * _DIGEST])

        return measure

    def judge(self, measures: npt.NDArray[np.uint8], rows: RowsSeen) -> Judgement:
        """Reason: conflicting_answer. Findings: `conflict`, with the answers and how many rows give each."""
        keys = measures.copy().view(np.uint64)
        reasons: dict[int, str] = {}
        findings: dict[int, tuple[Finding, ...]] = {}
        for members in _conflicting(keys):
            counts = Counter(keys[members, 1].tolist())
            finding = Finding("conflict", self._shown(members, keys, counts, rows))
            findings.update(dict.fromkeys(members.tolist(), (finding,)))
            if self.action != "report":
                kept = self._kept(counts)
                reasons.update({index: "conflicting_answer" for index in members.tolist() if keys[index, 1] != kept})
        return Judgement(reasons, findings)

    def _kept(self, counts: Counter[int]) -> int | None:
        """The answer whose rows stay, or None."""
        if self.action == "drop":
            return None
        (best, most), (_, second), *_ = counts.most_common()
        return best if most > second else None

    def _shown(
        self, members: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64], counts: Counter[int], rows: RowsSeen
    ) -> str:
        shown = []
        for answer, count in counts.most_common(_SHOWN):
            index = int(members[keys[members, 1] == answer][0])
            said = " | ".join(answers(rows.content(index)))
            said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
            shown.append(f"{said!r} in {count:,} ({rows.where(index)})")
        return "; ".join(shown)


def _conflicting(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.int64]]:
    """The rows [n] of each input that has more than one answer, in file order."""
    order = np.lexsort((np.arange(len(keys)), keys[:, 0]))
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:, 0] != ordered[:-1, 0]))
    differs = np.append(False, ordered[1:, 1] != ordered[:-1, 1])
    differs[starts] = False
    mixed = np.add.reduceat(differs.astype(np.int64), starts) > 0
    ends = np.append(starts[1:], len(keys))
    for start, end in zip(starts[mixed].tolist(), ends[mixed].tolist(), strict=True):
        yield order[start:end]
