"""An engine without weights, for tests, demonstrations and load tests of everything around it."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from tunesmith.engine.backend import Backend
from tunesmith.engine.engine import Engine

__all__ = ["Echo"]


class Echo(Backend):
    """Options of the echo engine.

    answers: what it says when the prompt contains a key (the first that fits); otherwise it repeats the prompt's last
    `length` tokens. context: most tokens of prompt and answer. delay_seconds: the time each token takes.
    """

    answers: dict[str, str] = {}
    length: int = Field(default=8, ge=1)
    context: int = Field(default=4096, ge=16)
    delay_seconds: float = Field(default=0.0, ge=0.0)

    def start(self, base_path: Path) -> Engine:
        """The engine with the tokenizer of the model in `base_path`; its weights are not read."""
        from tunesmith.engine.backends._replay import EchoEngine
        from tunesmith.models.template import Renderer

        vocabulary = int(json.loads((base_path / "config.json").read_text())["vocab_size"])
        return EchoEngine(
            Renderer(base_path),
            answers=self.answers,
            length=self.length,
            context=self.context,
            vocabulary=vocabulary,
            delay_seconds=self.delay_seconds,
        )
