"""Every way that needs no tuning: chosen on validation rows, then measured once on the held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from tunesmith.decide.evidence import Family
from tunesmith.decide.few_shot import FewShot
from tunesmith.decide.measuring import Lab, Result, Way, fits
from tunesmith.decide.nearest import Embedder
from tunesmith.decide.options import DecideOptions
from tunesmith.decide.prompts import Prompt, listed_prompts, with_prompt
from tunesmith.decide.retrieval import Chunk, Retrieval
from tunesmith.types.dataset import Example

__all__ = ["Rows", "Untuned", "measure_untuned"]

CHOOSING, JUDGING = 0.3, 0.5
"""the shares of the time after which nothing more is chosen, and nothing more judged, before the tunes"""


class Rows(NamedTuple):
    """The user's rows: to learn from, to choose by, and to judge by in the end. `system` is what all open with."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    held_out: tuple[Example, ...]
    labels: tuple[str, ...]
    system: str | None


class Untuned(NamedTuple):
    """What was measured on the validation rows, and each family's best on the held-out rows."""

    validation: tuple[Result, ...]
    held_out: tuple[Result, ...]


async def measure_untuned(
    lab: Lab, rows: Rows, options: DecideOptions, embedder: Embedder, chunks: Sequence[Chunk]
) -> Untuned:
    """Base, prompts, few-shot and (with documents) retrieval."""
    bench = _Bench(lab, rows, options)
    base = [Way("base", "base", "the model without any instructions", partial(with_prompt, text=""))]
    await bench.tried(base)
    prompt = await bench.prompts()
    await bench.few_shot(FewShot(embedder, rows.train), prompt)
    if chunks:
        await bench.retrieval(Retrieval(embedder, chunks), prompt)
    return Untuned(tuple(bench.validation), await bench.judged())


class _Bench:
    """Collects what is tried."""

    def __init__(self, lab: Lab, rows: Rows, options: DecideOptions) -> None:
        self.lab, self.rows, self.options = lab, rows, options
        self.fits = fits(lab)
        self.validation: list[Result] = []

    async def tried(self, ways: Sequence[Way]) -> list[Result]:
        """Those of `ways` that time allows, on the validation rows."""
        found = [await self.lab.result(way, self.rows.validation, "validation", CHOOSING) for way in ways]
        results = [result for result in found if result is not None]
        self.validation += results
        return results

    async def prompts(self) -> Prompt | None:
        """The best prompt (None: none was measured)."""
        by_name: dict[str, Prompt] = {}
        for prompt in listed_prompts(self.rows.system, self.options.prompts, self.rows.labels):
            if all(self.fits(with_prompt(row, prompt.text)) for row in self.rows.validation):
                by_name[prompt.name] = prompt
            else:
                self.lab.budget.leave_out(f"prompt “{prompt.name}”", "it does not fit into the model's context")
        ways = [Way(each.name, "prompt", each.note, partial(with_prompt, text=each.text)) for each in by_name.values()]
        best = _best(await self.tried(ways))
        return by_name[best.way.name] if best else None

    async def few_shot(self, shots: FewShot, prompt: Prompt | None) -> None:
        """Each number of examples with the recipe's prompt; the best number with the best prompt too."""

        def way(count: int, text: str | None, name: str, note: str) -> Way:
            row = partial(shots.row, shots=count, prompt=text, fits=self.fits)
            return Way(name, "few_shot", f"{count} training rows, chosen by embedding, {note}", row)

        counts = [count for count in self.options.shots if count > 0]
        plain = [way(count, None, f"{count} examples", "with the recipe's prompt") for count in counts]
        best = _best(await self.tried(plain))
        if best is not None and prompt is not None and prompt.text != (self.rows.system or ""):
            count = counts[[each.name for each in plain].index(best.way.name)]
            name = f"{count} examples, {prompt.name}"
            await self.tried([way(count, prompt.text, name, f"with the prompt “{prompt.name}”")])

    async def retrieval(self, found: Retrieval, prompt: Prompt | None) -> None:
        """Each number of chunks with the best prompt."""
        text, ways = prompt.text if prompt else None, []
        for count in self.options.chunks:
            name = f"{count} chunk{'' if count == 1 else 's'}"
            row = partial(found.row, count=count, prompt=text, fits=self.fits)
            ways.append(Way(name, "retrieval", "the nearest pieces of the documents in the prompt", row))
        await self.tried(ways)

    async def judged(self) -> tuple[Result, ...]:
        """Each family's best, on the held-out rows."""
        families: tuple[Family, ...] = ("base", "prompt", "few_shot", "retrieval")
        chosen = (_best([each for each in self.validation if each.way.family == family]) for family in families)
        ways = [each.way for each in chosen if each is not None]
        found = [await self.lab.result(way, self.rows.held_out, "test", JUDGING) for way in ways]
        return tuple(result for result in found if result is not None)


def _best(results: Sequence[Result]) -> Result | None:
    """The highest score; of equal ones the shortest prompt."""
    return max(results, key=lambda each: (each.value, -each.arm.prompt_tokens)) if results else None
