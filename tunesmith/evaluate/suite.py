"""Reading a suite: one YAML file of items, files of items and evals, with every problem shown at its line.

suite: support
metrics: [exact_match]            # default: those of the items' types
items:
  - {type: qa, question: What is the capital of France?, answer: Paris}
files:
  - {path: rows.jsonl, type: qa, columns: {question: prompt, answer: gold}, limit: 100}
  - {path: dev, reader: mmlu}     # a known set, as its authors publish it
evals:
  - {prompt: Write a haiku., constraints: [lowercase], rubric: It is about autumn.}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import Field, JsonValue, field_validator

from tunesmith import plugins
from tunesmith.documents import Document, Place, read_document, validate
from tunesmith.errors import DataError, NotFound, Problem, RecipeError
from tunesmith.evaluate.constraints.table import named_constraints
from tunesmith.evaluate.item import FOLDER as ITEM_TYPES
from tunesmith.evaluate.item import ItemType, read_item, with_human_grades
from tunesmith.evaluate.judge_agreement import human_grades, unfit_grades
from tunesmith.evaluate.metric import FOLDER as METRICS
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.reader import load_reader
from tunesmith.types.base import Value, digest_json
from tunesmith.types.conversation import Message
from tunesmith.types.fields import MetricSpec, PluginSpec
from tunesmith.types.suite import HumanGrade, Item, Pairwise, Suite

__all__ = ["judged_by", "load_suite"]

Result = TypeVar("Result")


class _File(Value, extra="allow"):
    """A file of items; the fields that are not named here are the reader's options."""

    path: str
    reader: str = "rows"
    limit: int = Field(default=0, ge=0)


class _Eval(Value):
    """A prompt, what its answer must look like, and what a judging model is to look at."""

    prompt: str
    id: str = ""
    system: str | None = None
    constraints: tuple[str | dict[str, JsonValue], ...] = ()
    rubric: str = ""
    tags: dict[str, str] = {}
    group: str = ""
    human: tuple[HumanGrade, ...] = ()

    @field_validator("constraints")
    @classmethod
    def _are_known(cls, written: tuple[str | dict[str, JsonValue], ...]) -> tuple[str | dict[str, JsonValue], ...]:
        return tuple(named_constraints(written))

    def item(self) -> Item:
        """The item, judged by the metrics of `metrics`."""
        expect = {"constraints": cast(JsonValue, list(self.constraints)), "rubric": self.rubric}
        opening = (Message(role="system", content=self.system),) if self.system is not None else ()
        item = Item(
            id=self.id,
            type="instruction",
            messages=(*opening, Message(role="user", content=self.prompt)),
            expect={key: value for key, value in expect.items() if value},
            tags=self.tags,
            group=self.group,
        )
        item = item.model_copy(update={"id": item.id or digest_json(item.model_dump(mode="json"))[:16]})
        return with_human_grades(item, self.human)

    def metrics(self) -> tuple[MetricSpec, ...]:
        """What judges this eval."""
        named = {"constraints": self.constraints, "judge": self.rubric or self.human}
        return tuple(MetricSpec(name=name) for name, given in named.items() if given)


class _Written(Value):
    """A suite as it is written."""

    suite: str = Field(min_length=1)
    description: str = ""
    licence: str = ""
    source: str = ""
    labels: tuple[str, ...] = ()
    metrics: tuple[MetricSpec, ...] = ()
    max_new_tokens: int = Field(default=256, ge=1)
    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    seed: int = 0
    pairwise: Pairwise | None = None
    items: tuple[dict[str, JsonValue], ...] = ()
    files: tuple[_File, ...] = ()
    evals: tuple[_Eval, ...] = ()


def load_suite(path: Path) -> Suite:
    """The suite in the YAML file `path`; the paths in it are relative to the file.

    The metrics are the suite's, or those of its items' types. The labels are the suite's, or all that its items of type
    `classification` name.

    Raises RecipeError with all problems found, each with its line: syntax, unknown or missing fields, item types,
    readers, metrics and their options, rows that are no items, two items with one id, no items at all.
    """
    document = read_document(path, "suite", "suite")
    written, problems = validate(_Written, document.data, (), document)
    if written is None:
        raise _refusal(path, [*problems, *_of_sound_parts(document, path.parent)])
    parts = _Parts(document, path.parent)
    items = list(parts.items(written))
    metrics = written.metrics or tuple({spec.content_digest(): spec for spec in parts.metrics}.values())
    parts.check(metrics, items)
    if parts.problems:
        raise _refusal(path, parts.problems)
    classified = sorted({label for item in items if item.type == "classification" for label in _labels(item)})
    return Suite(
        name=written.suite,
        items=_with_distinct_ids(items),
        labels=written.labels or tuple(classified),
        metrics=metrics,
        pairwise=written.pairwise,
        **written.model_dump(exclude={"suite", "items", "files", "evals", "metrics", "labels", "pairwise"}),
    )


def _of_sound_parts(document: Document, folder: Path) -> list[Problem]:
    """What is wrong inside the items, files and metrics that are written well, beside what is written badly."""
    parts = _Parts(document, folder)
    for key in ("items", "files", "metrics"):
        sound, _ = validate(_Written, {"suite": "-", key: document.data.get(key, [])}, (), document)
        if sound is not None:
            list(parts.items(sound))
            parts.check_metrics(sound.metrics)
    return parts.problems


def judged_by(suite: Suite, model: str, base_url: str | None = None, api_key_env: str = "OPENAI_API_KEY") -> Suite:
    """The suite with `model` as the judge of every metric that asks one and names none, at `base_url` where it names no
    server: grades are kept by a metric's options, and those of one server are not another's. So are pairs' verdicts.
    """
    server: dict[str, JsonValue] = {"base_url": base_url, "api_key_env": api_key_env} if base_url else {}
    specs = []
    for spec in suite.metrics:
        options = dict(spec.options)
        fields = plugins.load(METRICS, spec.name).model_fields
        if "base_url" in fields:  # an encoder has a `model` too, and is no judge
            options["model"] = options.get("model") or model
            options = options if options.get("base_url") else {**options, **server}
        specs.append(MetricSpec.model_validate({"name": spec.name, "label": spec.label, **options}))
    pairs = suite.pairwise
    if pairs is not None and pairs.base_url is None:
        pairs = pairs.model_copy(update=server)
    return suite.model_copy(update={"metrics": tuple(specs), "pairwise": pairs})


class _Parts:
    """Reads the parts of one document and keeps what is wrong with them."""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document, self.folder = document, folder
        self.problems: list[Problem] = []
        self.metrics: list[MetricSpec] = []

    def items(self, written: _Written) -> Iterator[Item]:
        """All items, in the order: inline, files, evals."""
        for index, fields in enumerate(written.items):
            found = self._tried(("items", index), partial(read_item, fields, ""))
            if found is not None:
                self.metrics += found[1]
                yield found[0]
        for index, file in enumerate(written.files):
            yield from self._tried(("files", index), partial(self._read, file)) or ()
        for each in written.evals:
            self.metrics += each.metrics()
            yield each.item()

    def check(self, metrics: tuple[MetricSpec, ...], items: list[Item]) -> None:
        """The problems that only the whole has."""
        self.check_metrics(metrics)
        titles = Counter(spec.title for spec in metrics)
        for title in [title for title, times in titles.items() if times > 1]:
            self._report(("metrics",), f"two metrics are called {title!r}", "give one a `label`")
        if not items and not self.problems:
            self._report((), "has no items", "write some under `items`, `files` or `evals`")
        if not metrics and not self.problems:
            self._report((), "has nothing to judge answers by", "name `metrics`")
        if not self.problems:
            for message in unfit_grades(metrics, human_grades(items)):
                self._report(("metrics",), message, None)
        contents: dict[str, str] = {}
        for item in items:
            if contents.setdefault(item.id, item.content_digest()) != item.content_digest():
                self._report(("items",), f"two different items have the id {item.id!r}", "ids must be unique")

    def check_metrics(self, metrics: tuple[MetricSpec, ...]) -> None:
        """The problems of each metric by itself."""
        for index, spec in enumerate(metrics):
            self._tried(("metrics", index), partial(load_metric, spec))

    def _read(self, file: _File) -> list[Item]:
        path = self.folder / file.path
        if not path.exists():
            raise NotFound(f"{file.path!r}: no such file", hint=f"paths are relative to {self.folder}")
        reader = load_reader(PluginSpec.model_validate({"name": file.reader, **(file.model_extra or {})}))
        items = list(reader.read(path, file.limit))
        for name in dict.fromkeys(item.type for item in items):
            self.metrics += cast(type[ItemType], plugins.load(ITEM_TYPES, name)).metrics
        return items

    def _tried(self, place: Place, work: Callable[[], Result]) -> Result | None:
        """What `work` gives; None when it has problems, which are kept with their lines."""
        try:
            return work()
        except NotFound as error:
            self._report(place, error.message, error.hint)
        except DataError as error:
            self.problems += error.problems
        except RecipeError as error:
            for problem in error.problems:
                inside = (part for part in (problem.field or "").split(".") if part)
                deeper = tuple(int(part) if part.isdigit() else part for part in inside)
                self._report((*place, *deeper), problem.message, problem.fix)
        return None

    def _report(self, place: Place, message: str, fix: str | None) -> None:
        self.problems.append(self.document.problem(place, message, fix))


def _labels(item: Item) -> tuple[str, ...]:
    return (item.reference, *item.options)


def _refusal(path: Path, problems: list[Problem]) -> RecipeError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    return RecipeError(ordered, message=f"The suite {path} has {count}:")


def _with_distinct_ids(items: list[Item]) -> tuple[Item, ...]:
    """Items that are written twice are asked twice, under ids of their own."""
    seen: Counter[str] = Counter()
    distinct: list[Any] = []
    for item in items:
        seen[item.id] += 1
        again = {"id": f"{item.id}-{seen[item.id]}"}
        distinct.append(item if seen[item.id] == 1 else item.model_copy(update=again))
    return tuple(distinct)
