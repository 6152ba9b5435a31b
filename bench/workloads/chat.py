"""sft on conversations of several turns, every answer trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.workload import Wanted, Workload

__all__ = ["Chat"]

ROLES = (("human", "user"), ("gpt", "assistant"))


class Chat(Workload):
    """FastChat's example conversations (1 to 3 turns each) in ShareGPT form. The loss is on all answers of a row.

    TRL's `assistant_only_loss` needs a chat template with generation marks, which this base's has not and which TRL
    does not know how to add; without it TRL trains the last answer of a prompt-completion pair only. The peer is
    therefore given the marks as token masks (`assistant_masks`), which it takes from prepared data sets.
    """

    title = "sft, chat of several turns"
    wanted = Wanted()

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """mt_bench/dummy_conversation.json, those of more than one turn."""
        roles = dict(ROLES)
        found = json.loads((data / "mt_bench" / "dummy_conversation.json").read_text(encoding="utf-8"))
        turns = [row["conversations"] for row in found if len(row["conversations"]) > 2]
        return [{"messages": [{"role": roles[t["from"]], "content": t["value"]} for t in row]} for row in turns]
