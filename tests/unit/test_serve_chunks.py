"""A chunk made around a frame is the chunk that its model writes, whatever its texts hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith.serve.answering.chunks import ChunkFrame, as_json
from tunesmith.serve.api.completions.protocol import CompletionChoice, CompletionChunk, CompletionChunkWithUsage
from tunesmith.types.base import Value

NAMES = ("base", 'a "choices": [ b', "\\", "é\u2028\n😀")


class Count(Value):
    """A usage."""

    tokens: int


def chunk(model: str, kind: type[CompletionChunk] = CompletionChunk, **more: Any) -> CompletionChunk:
    return kind(id="c", created=1, model=model, **{"choices": (), "system_fingerprint": "fp", **more})


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("kind", [CompletionChunk, CompletionChunkWithUsage])
def test_an_event_is_the_whole_chunk(model: str, kind: type[CompletionChunk]) -> None:
    frame = ChunkFrame(chunk(model, kind))
    for text in ("", *NAMES):
        choice = CompletionChoice(index=3, text=text, finish_reason=None, logprobs=None)
        whole = chunk(model, kind, choices=(choice,)).model_dump(mode="json")
        expected = f"data: {json.dumps(whole, ensure_ascii=False)}\n\n"
        assert frame.event(as_json(choice.model_dump(mode="json"))) == expected
    end = json.loads(frame.end(Count(tokens=5)).removeprefix("data: "))
    assert end == chunk(model).model_dump(mode="json") | {"usage": {"tokens": 5}, "choices": []}
