"""Whether a suite's judges can be asked at all, told before a single answer is paid for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tunesmith.errors import Problem, RecipeError, nearest
from tunesmith.evaluate.grounding import Grounding
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.metrics.judge import Judge
from tunesmith.types.suite import Suite

__all__ = ["require_judges"]


def require_judges(suite: Suite, contestants: Collection[str], *, server: bool) -> None:
    """Raises RecipeError with every judge of `suite` that has no model or nobody to ask, and a baseline that is absent.

    `server` says whether the run brings a server for judges that name none.
    """
    if problems := list(_problems(suite, contestants, server)):
        raise RecipeError(problems, message=f"The suite {suite.name} cannot be judged:")


def _problems(suite: Suite, contestants: Collection[str], server: bool) -> Iterator[Problem]:
    for spec in suite.metrics:
        metric, field = load_metric(spec), f"metrics.{spec.title}"
        if isinstance(metric, Judge) and not metric.model:
            fix = "write model: MODEL and base_url: URL, or give `eval run` --judge MODEL@URL"
            yield Problem("names no model that judges", field=f"{field}.model", fix=fix)
        elif isinstance(metric, Judge | Grounding) and metric.model and metric.base_url is None and not server:
            yield _unreached(metric.model, f"{field}.base_url")
    pairwise = suite.pairwise
    if pairwise is None:
        return
    if pairwise.base_url is None and not server:
        yield _unreached(pairwise.model, "pairwise.base_url")
    if pairwise.baseline and pairwise.baseline not in contestants:
        close = nearest(pairwise.baseline, tuple(contestants))
        fix = (f"did you mean {close!r}? " if close else "") + f"there are: {', '.join(contestants)}"
        yield Problem(f"{pairwise.baseline!r} does not take part", field="pairwise.baseline", fix=fix)


def _unreached(model: str, field: str) -> Problem:
    fix = "write base_url: the address of an OpenAI-compatible server, or give `eval run` --judge MODEL@URL"
    return Problem(f"no server is named to ask {model} at", field=field, fix=fix)
