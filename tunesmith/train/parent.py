"""Training on from an adapter that exists: the same method goes on at its tensors, on the base that it belongs to.

The new adapter stands alone on the base, for it holds the parent's change and its own. The parent is the start policy:
what preference and policy objectives hold the model against is the parent, never the base under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith import plugins
from tunesmith.errors import ModelError, NotFound, Problem, RecipeError
from tunesmith.models.adapter import (
    AdapterIdentity,
    adapter_digest,
    load_adapter_state,
    read_adapter_config,
    read_identity,
    read_weights,
)
from tunesmith.models.attach import METHODS, attach
from tunesmith.models.method import Method
from tunesmith.models.score_head import HEAD_FILE
from tunesmith.models.shared_copy import shared_copy
from tunesmith.models.start import keep_start
from tunesmith.types.recipe import PluginSpec, TrainSpec

__all__ = ["Parent", "inherited", "read_parent", "require_fit", "said_by", "wrapped"]

FIELD = "train.start_from"


class Parent(NamedTuple):
    """The adapter that a run starts from: what the recipe calls it, where it lies, its digest and what it belongs to,
    and what its adapter_config.json says.
    """

    reference: str
    folder: Path
    digest: str
    identity: AdapterIdentity
    config: dict[str, Any]


def read_parent(folder: Path, reference: str) -> Parent:
    """The adapter in `folder`. Raises RecipeError when there is none that training can go on from."""
    try:
        digest, config = adapter_digest(folder), read_adapter_config(folder)
    except ModelError as error:
        fix = "name a release (support@v1), a run's folder or an adapter's folder"
        raise RecipeError([Problem(error.message, field=FIELD, fix=fix)]) from None
    identity = read_identity(folder)
    if identity is None:
        fix = "start from an adapter that Tunesmith trained"
        raise RecipeError([Problem(f"{reference} does not say which base it belongs to", field=FIELD, fix=fix)])
    if (folder / HEAD_FILE).is_file():
        fix = "start from the adapter that it was trained from, or from none"
        raise RecipeError([Problem(f"{reference} is a reward model: it scores answers", field=FIELD, fix=fix)])
    return Parent(reference, folder, digest, identity, config)


def require_fit(parent: Parent, base: tuple[str, str], template_digest: str) -> None:
    """Raises RecipeError when `parent` belongs to another base than `base` (name, digest) or another chat template."""
    identity, (name, digest) = parent.identity, base
    if identity.base_digest != digest:
        theirs, ours = f"{identity.base} ({identity.base_digest[:12]})", f"{name} ({digest[:12]})"
        message = f"{parent.reference} was trained on the base {theirs}, and model.base is {ours}"
        raise RecipeError([Problem(message, field=FIELD, fix="an adapter only fits the very base it was trained on")])
    if identity.template_digest != template_digest:
        theirs, ours = identity.template_digest[:12], template_digest[:12]
        message = f"{parent.reference} was trained with another chat template ({theirs}) than model's ({ours})"
        raise RecipeError([Problem(message, field=FIELD, fix="give model.template the one it was trained with")])


def inherited(spec: TrainSpec, parent: Parent) -> TrainSpec:
    """`spec` with the method of `parent`; the recipe may change what only says how training goes (`Method.free`).

    Raises RecipeError when training cannot go on from such an adapter, or the recipe's method contradicts it.
    """
    written = spec.method if "method" in spec.model_fields_set else None
    own = _name(parent.config)
    kind = _kind(own)
    found = kind.of_adapter(parent.config) if kind else None
    if kind is None or found is None:
        message = f"training cannot go on from {parent.reference}, an adapter of type {parent.config.get('peft_type')}"
        fix = "adapters of lora, dora, qlora, vera, oft, ia3, bottleneck, freeze and full can be started from"
        raise RecipeError([Problem(message, field=FIELD, fix=fix)])
    if written is not None and written.name != own:
        message = f"{written.name!r} cannot go on from {parent.reference}, an adapter of the method {own!r}"
        raise RecipeError([Problem(message, field="train.method.name", fix="leave train.method out: it is taken over")])
    given = written.options if written else {}
    theirs = kind.model_validate(found).model_dump(mode="json")
    wanted = kind.model_validate({**found, **given}).model_dump(mode="json")
    problems = [
        Problem(
            f"is {wanted[name]!r} here, and {theirs[name]!r} in {parent.reference}",
            field=f"train.method.{name}",
            fix="leave it out: it is taken over",
        )
        for name in given
        if name not in kind.free and not _agree(name, wanted[name], theirs[name])
    ]
    if problems:
        raise RecipeError(problems, message="The method contradicts the adapter that training starts from:")
    chosen = {name: wanted[name] for name in given if name in kind.free or wanted[name] == "all-linear"}
    return spec.model_copy(update={"method": PluginSpec.model_validate({"name": own, **theirs, **chosen})})


def wrapped(method: Method, model: Any, seed: int, parent: Parent | None) -> Any:
    """The base `model` wrapped by `method`; with a `parent` at its tensors, which are kept as the start of the run.

    Raises ModelError when the options do not fit the model, or the parent's tensors the wrapped model.
    """
    result = method.wrap(model, seed)
    if parent is None:
        return result
    try:
        load_adapter_state(result, read_weights(parent.folder))
    except ModelError as error:
        raise ModelError(
            f"{FIELD}: {parent.reference} adapts other layers than train.method does. {error.message}",
            hint="Leave train.method out: it is taken over.",
        ) from error
    keep_start(result)
    return result


def said_by(model: Any, parent: Parent | None) -> Any:
    """What a run on the base `model` must say before its first step: the model itself, or another one in the same
    memory with the `parent` on it, put there the way that serving does.
    """
    return model if parent is None else attach(shared_copy(model), parent.folder)


def _name(config: Mapping[str, Any]) -> str:
    """The method that an adapter_config.json is of."""
    name = str(config.get("peft_type", "")).lower()
    return "dora" if name == "lora" and config.get("use_dora") else name


def _kind(name: str) -> type[Method] | None:
    try:
        kind = plugins.load(METHODS, name)
    except NotFound:
        return None
    return kind if issubclass(kind, Method) else None


def _agree(name: str, wanted: Any, theirs: Any) -> bool:
    """Whether what a recipe writes is what the adapter has. "all-linear" layers are named when they are known."""
    if name == "alpha":
        return wanted is None or wanted == theirs
    if name == "targets":
        return wanted == "all-linear" or sorted(wanted) == sorted(theirs)
    if name == "alpha_pattern":
        return all(theirs.get(layer) == alpha for layer, alpha in wanted.items())
    return bool(wanted == theirs)
