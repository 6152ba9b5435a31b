"""What a recipe says of its data: sources, steps, lengths, splits, mixture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tunesmith.types.base import Value
from tunesmith.types.fields import Fraction, PluginSpec, Positive

__all__ = ["ColumnMapping", "MixSpec", "PrepareSpec", "SourceSpec", "SplitSpec", "SystemSpec", "TimeSpec"]


class ColumnMapping(Value):
    """Which columns of a row hold the prompt, the completion and (optionally) the system prompt.

    A column may lie deeper (`userInput.text`). `prompt` may be made of several, `"{question}\\nA: {choice0}"`; several
    `completion` columns, `[intents, slots]`, are answered as one JSON object.
    """

    prompt: str
    completion: str | Annotated[tuple[str, ...], Field(min_length=1)]
    system: str | None = None


class SystemSpec(Value):
    """System prompts by a field of the row, such as its language or domain; `otherwise` where no value fits."""

    by: str
    prompts: dict[str, str] = Field(min_length=1)
    otherwise: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """All its system prompts."""
        return (*self.prompts.values(), *((self.otherwise,) if self.otherwise is not None else ()))


class SourceSpec(Value):
    """One input: a file, a folder or a glob, relative to the recipe, `-` (standard input) or an fsspec address.

    `split: auto` lets the split step place its rows. `encoding` is that of a text file that is not UTF-8, such as
    `cp1252`. `part` takes only that list of rows of a file that holds several. `unit` is what makes a row of a plain
    text: a paragraph (the default; empty lines divide them), a line, or the whole document. `system` replaces the
    system prompt of this source's rows.

    At most `at_most` of its rows are used. With `weight` the training rows of all sources stand in the proportion of
    their weights. `general` marks data that is there against forgetting (see `mix.general`).
    """

    path: str
    format: str = "auto"
    columns: ColumnMapping | None = None
    encoding: str | None = None
    part: str | None = None
    unit: Literal["paragraph", "line", "document"] | None = None
    system: str | SystemSpec | None = None
    split: Literal["auto", "train", "validation", "test"] = "auto"
    at_most: int | None = Field(default=None, ge=1)
    weight: Positive | None = None
    general: bool = False


class TimeSpec(Value):
    """Hold out the newest rows by the metadata field `field` (ISO 8601, or seconds since 1970).

    Rows at or after `cut` are held out, divided into validation (the earlier) and test in proportion of the split's
    fractions; without `cut` the newest rows are, as many as the fractions ask for.
    """

    field: str = Field(min_length=1)
    cut: str | None = None


class SplitSpec(Value):
    """How rows of `split: auto` sources are divided; the rest is training data.

    `stratify: auto` divides each answer's rows in the same proportion when answers repeat (classification). Rows with
    the same value of the metadata field `by` (a conversation, a customer) land in the same split, as do rows with the
    same prompt and rows that a step of the recipe calls alike. `time` holds out the newest rows.
    """

    validation: Fraction = 0.1
    test: Fraction = 0.1
    stratify: Literal["auto", "yes", "no"] = "auto"
    by: str | None = Field(default=None, min_length=1)
    time: TimeSpec | None = None
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _time_has_a_meaning(self) -> SplitSpec:
        if self.time is not None and self.stratify == "yes":
            raise ValueError("rows split by time cannot be stratified; remove stratify or time")
        if self.time is not None and not self.validation + self.test:
            raise ValueError("time has no effect when validation and test are 0; give one of them a share")
        return self

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> SplitSpec:
        if self.validation + self.test >= 1.0:
            raise ValueError("validation + test must be below 1.0 so that training rows remain")
        return self


class MixSpec(Value):
    """Which training rows are used, how often and in which order.

    `general` is the share of training rows from sources with `general: true` (0.2 to 0.3 helps against forgetting).
    `subset` trains on this share of the rows; a smaller subset is part of every larger one, and each class keeps its
    share, for learning curves. `oversample` repeats rows of rare classes until each class has at least this share of
    the largest one's rows. `order: length` shows short rows before long ones in every epoch (a curriculum); `loss`
    is refused, since the base's weights are not loaded to prepare.
    """

    general: float | None = Field(default=None, gt=0.0, lt=1.0)
    subset: float = Field(default=1.0, gt=0.0, le=1.0)
    oversample: Fraction = 0.0
    order: Literal["shuffled", "length"] = "shuffled"


class PrepareSpec(Value):
    """Data in, dataset out.

    `system` replaces the rows' system prompt; `{labels}` in it stands for the sorted distinct answers of the training
    rows.
    `deduplicate: normalised` compares prompts and answers after case folding, Unicode NFKC and white-space
    collapse; a duplicate over a split border is dropped from the training side. `max_drop_rate` stops the run
    when a larger share of the rows is dropped.
    `steps` clean, check and drop rows, in this order, after they are read and before `system` is put in front.
    `too_long` says what becomes of a row with more than `max_tokens`: it is dropped, the middle of its longest context
    message is cut (never an answer), or the data is refused.
    """

    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    steps: tuple[PluginSpec, ...] = ()
    system: str | None = None
    split: SplitSpec = SplitSpec()
    deduplicate: Literal["off", "exact", "normalised"] = "normalised"
    max_tokens: int = Field(default=1024, ge=8)
    too_long: Literal["drop", "truncate", "refuse"] = "drop"
    mix: MixSpec = MixSpec()
    max_drop_rate: Fraction = 0.05

    @model_validator(mode="after")
    def _one_system_prompt(self) -> PrepareSpec:
        own = {source.path: source.system for source in self.sources if source.system is not None}
        if own and self.system is not None:
            raise ValueError(f"system would replace that of the source {next(iter(own))!r}; remove one of the two")
        texts = [text for system in own.values() for text in ((system,) if isinstance(system, str) else system.texts)]
        if any("{labels}" in text for text in texts):
            raise ValueError("{labels} is filled in prepare.system only, not in a source's system")
        return self

    @model_validator(mode="after")
    def _mix_has_a_meaning(self) -> PrepareSpec:
        weighted = {source.weight is not None for source in self.sources if source.split in ("auto", "train")}
        if len(weighted) > 1:
            raise ValueError("some sources have a weight and some have none; give every training source one, or none")
        if any(source.weight for source in self.sources if source.split not in ("auto", "train")):
            raise ValueError("weight has no effect on a source that gives no training rows; remove it")
        if weighted == {True} and self.mix.general is not None:
            raise ValueError("weight and mix.general both decide the proportions; use one of them")
        if (self.mix.general is not None) != any(source.general for source in self.sources):
            raise ValueError("mix.general and a source's general: true need each other")
        return self
