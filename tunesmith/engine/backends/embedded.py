"""The default engine: our own continuous batching over the transformers model, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from tunesmith.engine.backend import Backend
from tunesmith.engine.engine import Engine
from tunesmith.types.recipe import ModelSpec, Precision

if TYPE_CHECKING:
    from tunesmith.engine.backends._live import LiveSampler

__all__ = ["Embedded"]


class Embedded(Backend):
    """Options of the embedded engine.

    device: where the model computes: auto is the first CUDA GPU where there is one, else the processor.
    precision: float32 gives the same greedy answer alone and in any batch; bfloat16 may not, by rounding.
    threads: processor threads of the model (None: torch's default). max_running: requests computed at once.
    step_tokens: most tokens of one step, so long prompts do not hold up running answers.
    kv_tokens: token slots for keys and values, the bound of the engine's memory beside the weights.
    prefix_tokens: how many of them may keep prefixes for later requests (0: none).
    adapter_bytes: memory that adapters may take together (None: any amount); the least recently used one that nobody is
    using makes room for another, and more is taken only while all of them are in use.
    """

    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = Field(default=None, ge=1)
    max_running: int = Field(default=16, ge=1)
    step_tokens: int = Field(default=256, ge=16)
    kv_tokens: int = Field(default=16384, ge=256)
    prefix_tokens: int = Field(default=4096, ge=0)
    adapter_bytes: int | None = Field(default=None, ge=1)

    def live_sampler(self, stop_ids: frozenset[int]) -> LiveSampler:
        """What samples from a model while it is trained, by the same packed forward; `kv_tokens` bounds it."""
        from tunesmith.engine.backends._live import LiveSampler

        return LiveSampler(stop_ids, self.kv_tokens)

    def start(self, base_path: Path) -> Engine:
        """Load the base model in `base_path`, prove that it is served faithfully, and start the engine's thread.

        Raises ModelError when the device is not there, or the model cannot be loaded or is of a family that is not
        served.
        """
        from tunesmith.engine.backends._engine import EmbeddedEngine, Options
        from tunesmith.engine.backends._grammar import Grammars
        from tunesmith.engine.backends._packed import PackedModel
        from tunesmith.engine.schedule import Limits
        from tunesmith.models.device import resolve_device
        from tunesmith.models.template import Renderer
        from tunesmith.models.weights import load_base, resolve_base, resolve_precision

        device = resolve_device(self.device)
        digest = resolve_base(ModelSpec(base=str(base_path)), base_path).digest
        base = load_base(base_path, resolve_precision(self.precision, device), device=device)
        model = PackedModel(base, self.kv_tokens)
        limits = Limits(
            max_running=min(self.max_running, self.step_tokens),
            step_tokens=self.step_tokens,
            kv_tokens=self.kv_tokens,
            prefix_tokens=min(self.prefix_tokens, self.kv_tokens),
        )
        renderer = Renderer(base_path)
        grammars = Grammars(renderer.tokenizer_json(), model.vocabulary, renderer.stop_ids)
        options = Options(threads=self.threads, adapter_bytes=self.adapter_bytes, grammars=grammars)
        return EmbeddedEngine(model, renderer, limits, base_digest=digest, options=options)
