"""From a prepared dataset to the groups that an objective trains on."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.errors import Problem, RecipeError
from tunesmith.models.template import Renderer
from tunesmith.plugins import load, names
from tunesmith.store.datasets import StoredDataset
from tunesmith.train.objective import Group, Objective
from tunesmith.train.prompts import prompt_groups
from tunesmith.types.dataset import DatasetManifest, Example, SplitName
from tunesmith.types.preference import Labelled, Preference
from tunesmith.types.recipe import TrainSpec

__all__ = ["OBJECTIVES", "behind", "groups_of", "require_shape", "require_validation"]

OBJECTIVES = "tunesmith.train.objectives"


def groups_of(renderer: Renderer, dataset: StoredDataset, split: SplitName, objective: Objective) -> list[Group]:
    """The groups of `split` in stored order; none when the dataset has no such split.

    One per example, but one per answer for objectives that judge answers one by one: of pairs first all chosen
    answers, then all rejected ones.

    Raises RecipeError when an option of the objective has no effect on the training rows.
    """
    if split not in dataset.manifest.splits:
        return []
    examples = dataset.examples(split)
    if split == "train":
        found = objective.problems([row for example in examples for row in example.content.conversations])
        if found:
            raise RecipeError(found)
    if objective.needs.completions:
        return prompt_groups(renderer, examples, objective.needs)
    if objective.unpaired:
        return _unpaired(renderer, _judged(examples))
    return [
        Group(
            rows=tuple(
                objective.weighted(renderer.render(conversation), conversation, renderer)
                for conversation in example.content.conversations
            ),
            id=example.id,
            margin=example.content.margin if isinstance(example.content, Preference) else 0.0,
        )
        for example in examples
    ]


def require_shape(objective: Objective, name: str, manifest: DatasetManifest) -> None:
    """Raise RecipeError when the objective `name` does not train on the dataset's kind of rows."""
    if manifest.shape in objective.shapes:
        return
    fitting = [other for other in names(OBJECTIVES) if manifest.shape in getattr(load(OBJECTIVES, other), "shapes", ())]
    message = (
        f"{name!r} trains on {' or '.join(objective.shapes)} rows, but prepare.sources gives {manifest.shape} rows "
        f"({manifest.sources[0].path}: {manifest.sources[0].format})"
    )
    fix = f"choose {', '.join(fitting)}, or give {' or '.join(objective.shapes)} rows in prepare.sources"
    raise RecipeError([Problem(message, field="train.objective.name", fix=fix)])


def require_validation(spec: TrainSpec, rows: int) -> None:
    """Raise RecipeError for options that do nothing without validation rows."""
    what = "has no effect without validation rows"
    problems = []
    if spec.patience and not rows:
        problems.append(Problem(what, field="train.patience", fix="set it to 0"))
    if spec.validate_every and not rows:
        problems.append(Problem(what, field="train.validate_every", fix="set it to 0"))
    if not spec.must_improve and not rows:
        problems.append(Problem(what, field="train.must_improve", fix="leave it out"))
    if problems:
        raise RecipeError(problems)


def _judged(examples: Sequence[Example]) -> list[tuple[str, Labelled]]:
    judged = [(example.id, example.content) for example in examples if isinstance(example.content, Labelled)]
    pairs = [(example.id, example.content) for example in examples if isinstance(example.content, Preference)]
    for wanted in (True, False):
        judged += [
            (
                name,
                Labelled(
                    prompt=pair.prompt,
                    completion=pair.chosen if wanted else pair.rejected,
                    label=wanted,
                    tools=pair.tools,
                ),
            )
            for name, pair in pairs
        ]
    return judged


def _unpaired(renderer: Renderer, judged: Sequence[tuple[str, Labelled]]) -> list[Group]:
    """Each answer, and its prompt with the answer of the row before (of the last row for the first one)."""
    return [
        Group(
            rows=(renderer.render(row.conversations[0]),),
            id=name,
            label=row.label,
            unpaired=(renderer.render(row.answered_by(judged[index - 1][1])),),
        )
        for index, (name, row) in enumerate(judged)
    ]


def behind(ids: tuple[int, ...], groups: list[Group]) -> list[Group]:
    """The groups with the tokens `ids` (a method's virtual tokens) in front of each of their rows."""
    if not ids:
        return groups
    return [
        group._replace(
            rows=tuple(row.after(ids) for row in group.rows),
            unpaired=tuple(row.after(ids) for row in group.unpaired),
            prompt=(*ids, *group.prompt),
        )
        for group in groups
    ]
