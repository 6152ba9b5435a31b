"""What every side is asked: questions that call for a long answer, no two alike, so that no answer can be reused."""

from __future__ import annotations

__all__ = ["prompts"]

_KINDS = ("a harbour at night", "the history of bread", "how rain is made", "a lost letter", "two rivals in chess")
_WAYS = ("Tell a long story about {}.", "Explain in detail to a child: {}.", "Write a newspaper article about {}.")


def prompts(count: int) -> list[str]:
    """The first `count` prompts."""
    return [
        f"{_WAYS[number % len(_WAYS)].format(_KINDS[number % len(_KINDS)])} Begin with the number {number + 1}."
        for number in range(count)
    ]
