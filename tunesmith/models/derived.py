"""Bases made from another base: with new tokens, with rotary positions stretched, with another chat template.

A derived base is an ordinary model folder under home/models, made once, deterministic to the byte, with a digest of its
own; whatever reads a base (rendering, training, evaluation, serving, merging) needs to know nothing about it. Its name
says how it is made, `BASE#{"new_tokens":[...]}`, so that any machine can make it again from the name alone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.errors import ModelError
from tunesmith.models.chat_templates import NEEDED, template_text
from tunesmith.models.new_tokens import DERIVED_FILE, grow_rows
from tunesmith.models.template import Renderer
from tunesmith.progress import Progress
from tunesmith.types.base import digest_json
from tunesmith.types.recipe import ModelSpec, RopeSpec

__all__ = ["derivation", "derive", "derived_name", "read_name"]

DERIVED_VERSION = 1


def derivation(spec: ModelSpec) -> dict[str, Any]:
    """What `spec` changes about its base; empty when nothing."""
    return spec.model_dump(mode="json", include={"new_tokens", "rope", "template"}, exclude_defaults=True)


def derived_name(spec: ModelSpec) -> str:
    """The base's name with its derivation, from which `read_name` gives the same spec again."""
    changes = derivation(spec)
    return f"{spec.base}#{json.dumps(changes, sort_keys=True, separators=(',', ':'))}" if changes else spec.base


def read_name(name: str) -> ModelSpec:
    """Inverse of `derived_name`. Raises ModelError for a name whose derivation cannot be read."""
    base, mark, changes = name.partition("#{")
    if not mark:
        return ModelSpec(base=name)
    try:
        return ModelSpec.model_validate({"base": base, **json.loads("{" + changes)})
    except ValueError as error:
        raise ModelError(f"The base {name!r} says nothing that could be derived: {error}") from error


def derive(path: Path, digest: str, spec: ModelSpec, home: Path, progress: Progress) -> Path:
    """The folder of the base in `path` (with `digest`) changed as `spec` says.

    Raises ModelError when a token exists already, the base has no rotary positions to stretch or lacks tokens that the
    template is written with, or the template cannot be used.
    """
    key = digest_json([DERIVED_VERSION, digest, derivation(spec)])
    target = home / "models" / f"derived-{key[:16]}"
    if spec.rope is not None:
        progress.say(_rope_warning(path, spec.rope))
    if target.is_dir():
        return target
    progress.say(f"making the changed base {target.name} (once)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".derive-") as temporary:
        draft = Path(temporary) / "model"
        _write(path, spec, draft)
        if not target.is_dir():  # else another process was faster
            draft.rename(target)
    return target


def _write(path: Path, spec: ModelSpec, draft: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    known = tokenizer.get_vocab()
    if taken := [token for token in spec.new_tokens if token in known]:
        raise ModelError(f"model.new_tokens: {taken[0]!r} is a token of this base already.", hint="Leave it out.")
    ids: tuple[int, ...] = ()
    draft.mkdir()
    if spec.new_tokens or spec.rope is not None:
        model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", local_files_only=True)
        if spec.new_tokens:
            tokenizer.add_tokens(list(spec.new_tokens))
            ids = tuple(tokenizer.convert_tokens_to_ids(list(spec.new_tokens)))
            grow_rows(model, ids, spec.new_tokens)
        if spec.rope is not None:
            _stretch(model.config, spec.rope)
        model.save_pretrained(draft)
    unchanged = not any(draft.iterdir())
    for file in path.iterdir():
        if file.is_file() and not (draft / file.name).exists() and _belongs(file, weights=unchanged):
            _copy(file, draft / file.name)
    if spec.template is not None:
        _set_template(tokenizer, spec)
    if spec.new_tokens or spec.template is not None:
        tokenizer.save_pretrained(draft)
    (draft / DERIVED_FILE).write_text(json.dumps({"new_token_ids": ids, **derivation(spec)}, indent=2))
    if spec.template is not None:
        _stop_where_turns_end(draft)


def _set_template(tokenizer: Any, spec: ModelSpec) -> None:
    """The template in the tokenizer, and the tokens it is written with as special ones."""
    needed = NEEDED.get(spec.template or "", ())
    known = tokenizer.get_vocab()
    if lacking := [token for token in needed if token not in known]:
        raise ModelError(
            f"model.template: {spec.template} is written with {', '.join(lacking)}, which this base does not have.",
            hint=f"Add model.new_tokens: {lacking}, or choose plain or alpaca, which need none.",
        )
    tokenizer.add_special_tokens(
        {"extra_special_tokens": [AddedToken(token, special=True, normalized=False) for token in needed]},
        replace_extra_special_tokens=False,
    )
    tokenizer.chat_template = template_text(spec.template or "")


def _stop_where_turns_end(draft: Path) -> None:
    """Other servers stop where the generation settings say: there too at the template's end of turn.

    Raises ModelError when the template cannot be used with this tokenizer.
    """
    file = draft / "generation_config.json"
    settings = json.loads(file.read_text()) if file.is_file() else {}
    settings["eos_token_id"] = sorted(Renderer(draft).stop_ids)
    file.write_text(json.dumps(settings, indent=2))


def _copy(file: Path, to: Path) -> None:
    """Weights are linked, not copied, where the disk can."""
    if file.suffix == ".safetensors":
        with suppress(OSError):  # another disk, or one without links
            os.link(file.resolve(), to)
    if not to.exists():
        shutil.copyfile(file, to)


def _belongs(file: Path, *, weights: bool) -> bool:
    kept = (".bin", ".gguf") if weights else (".safetensors", ".bin", ".gguf")
    return file.suffix not in kept and not file.name.startswith((".", "tunesmith-"))


def _stretch(config: Any, rope: RopeSpec) -> None:
    """transformers' names for: positions divided by the factor (linear), or by frequency (YaRN)."""
    present = getattr(config, "rope_parameters", None)
    if not isinstance(present, dict) or "rope_theta" not in present:
        raise ModelError(
            f"model.rope: models of type {config.model_type!r} have no rotary positions to stretch.",
            hint="Remove model.rope.",
        )
    original = int(config.max_position_embeddings)
    config.rope_parameters = {**present, "rope_type": rope.type, "factor": rope.factor}
    if rope.type == "yarn":
        config.rope_parameters["original_max_position_embeddings"] = original
    config.max_position_embeddings = int(original * rope.factor)


def _rope_warning(path: Path, rope: RopeSpec) -> str:
    config = json.loads((path / "config.json").read_text())
    present = (config.get("rope_parameters") or config.get("rope_scaling") or {}).get("rope_type", "default")
    length = config.get("max_position_embeddings")
    longer = f"model.rope stretches {length} positions by {rope.factor:g} ({rope.type})"
    if present != "default":
        return f"warning: {longer}, but the base is stretched already ({present}): this replaces its own stretching"
    return f"warning: {longer}; the base was not made for that: train on rows of that length, and test short rows too"
