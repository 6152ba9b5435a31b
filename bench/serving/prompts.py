"""What every side is asked: questions that call for a long answer, no two alike, so that nothing can be reused."""

from __future__ import annotations

__all__ = ["prompts"]

_KINDS = ("a harbour at night", "the history of bread", "how rain is made", "a lost letter", "two rivals in chess")
_WAYS = ("Tell a long story about {}.", "Explain in detail to a child: {}.", "Write a newspaper article about {}.")


def prompts(count: int, first: int = 0) -> list[str]:
    """`count` prompts from number `first` on. The number stands in front: a server that keeps the keys of earlier
    prompts finds no more of one here than the template's own beginning.
    """
    return [
        f"Number {number + 1}. {_WAYS[number % len(_WAYS)].format(_KINDS[number % len(_KINDS)])}"
        for number in range(first, first + count)
    ]
