"""The transformers model as a function of packed pieces of sequences, with the proof that it computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from tunesmith.engine.backends._attention import NAME, KVPool, PackedStep, Segment, register_attention
from tunesmith.engine.backends._blocked import block_linear_weights
from tunesmith.engine.backends._regions import region_of
from tunesmith.engine.backends._variants import Adapters
from tunesmith.errors import ModelError
from tunesmith.models.device import device_of
from tunesmith.models.virtual import virtual_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FAMILIES", "PackedModel", "Slice"]

_PROBE_TOKENS = 8

# Families whose packed logits were compared with the plain forward. Others may be wrong without any error
# (Bloom's position bias, state-space layers), so they are refused.
FAMILIES = (
    "cohere",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "granite",
    "llama",
    "mistral",
    "olmo2",
    "opt",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
    "starcoder2",
)

# Rotary variants whose angles depend on the longest position in the batch: a neighbour would change the answer.
_BATCH_DEPENDENT_ROPE = ("dynamic", "longrope")

# Largest difference from the plain forward, relative to the largest logit (families take softmax and rotary angles in
# float32 whatever the weights are, so float64 does not help beyond 1e-6).
_TOLERANCE: Mapping[torch.dtype, float] = {
    torch.float64: 2e-6,
    torch.float32: 2e-4,
    torch.bfloat16: 8e-2,
    torch.float16: 2e-2,
}


class Slice(NamedTuple):
    """Tokens of one sequence to compute: they follow `computed` earlier ones whose keys start at pool slot `start`.

    wanted: how many of the last tokens' logits are needed.
    """

    token_ids: list[int]
    computed: int
    start: int
    adapter: str | None
    wanted: int


class PackedModel:
    """A causal language model over a pool of keys and values.

    Raises ModelError when the family is not known to be served right, or its packed logits differ from the plain ones.
    """

    def __init__(self, model: PreTrainedModel, kv_tokens: int) -> None:
        self.model = model
        self.pool = KVPool(kv_tokens)
        self._device = device_of(model)
        self._region = region_of(model)
        _check_family(model.config)
        register_attention()
        self._self_test()
        self.adapters = Adapters(model)

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return int(self.model.config.vocab_size)

    @property
    def context(self) -> int:
        """Longest sequence the model was made for, in tokens."""
        return int(self.model.config.max_position_embeddings)

    @torch.inference_mode()
    def forward(self, slices: list[Slice]) -> list[Tensor]:
        """Compute all slices, packed: one row for the base with its LoRAs, one for each variant; float32 logits
        [wanted, V] of each slice.
        """
        found: dict[int, Tensor] = {}
        for module, members in self.adapters.forwards([(part.adapter, len(part.token_ids)) for part in slices]):
            rows = self._row(module, [slices[index] for index in members], self.pool)
            found.update(zip(members, rows, strict=True))
        return [found[index] for index in range(len(slices))]

    @torch.inference_mode()
    def probe(self, adapter: str | None) -> Tensor:
        """Logits [1, V] after a fixed short prompt; computed apart from the pool."""
        ids = [index % self.vocabulary for index in range(1, _PROBE_TOKENS + 1)]
        part = Slice([*virtual_ids(self.adapters.virtual(adapter)), *ids], 0, 0, adapter, 1)
        ((module, _),) = self.adapters.forwards([(adapter, len(part.token_ids))])
        return self._row(module, [part], KVPool(len(part.token_ids)))[0]

    def threads_for(self, tokens: int) -> AbstractContextManager[None]:
        """Inside the block a step of so many tokens is computed with the number of threads that suits it."""
        return nullcontext() if self._region is None else self._region.threads_for(tokens)

    def _row(self, module: Any, slices: list[Slice], pool: KVPool) -> list[Tensor]:
        """Slices that go through one module as one packed row."""
        segments: list[Segment] = []
        wanted: list[int] = []
        first = 0
        for part in slices:
            last = first + len(part.token_ids)
            segments.append(Segment(first, last, part.start, part.computed + len(part.token_ids)))
            wanted.extend(range(last - part.wanted, last))
            first = last
        positions = [place for part in slices for place in range(part.computed, part.computed + len(part.token_ids))]
        device = self._device
        with self.threads_for(first):
            logits = module(
                input_ids=torch.tensor([[token for part in slices for token in part.token_ids]], device=device),
                position_ids=torch.tensor([positions], device=device),
                use_cache=False,
                logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=device),
                packed_step=PackedStep(pool, segments, device),
            ).logits[0]
        # On the processor, where each request's generator draws: the same seed gives the same token on every device
        # whose logits are the same.
        return list(logits.float().cpu().split([part.wanted for part in slices]))

    @torch.inference_mode()
    def _self_test(self) -> None:
        """Two sequences, packed, in chunks and token by token, must have the logits of two plain forwards."""
        window = getattr(self.model.config, "sliding_window", None) or 0
        longer = min(window + 8, 96) if window else 24
        generator = torch.Generator().manual_seed(0)
        draws = torch.randint(self.vocabulary, (longer + 9,), generator=generator).tolist()
        texts = (draws[:longer], draws[longer:])
        ids = [torch.tensor([text], device=self._device) for text in texts]
        plain = [self.model(input_ids=text, use_cache=False).logits[0].float().cpu() for text in ids]
        self.model.set_attn_implementation(NAME)
        block_linear_weights(self.model)
        starts = (0, longer)
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        computed = [0, 0]
        for sizes in ((longer - 10, 3), (7, 1), (1, 2), (1, 1), (1, 2)):
            slices = [
                Slice(text[done : done + size], done, start, None, size)
                for text, done, start, size in zip(texts, computed, starts, sizes, strict=True)
            ]
            for index, logits in enumerate(self._row(self.model, slices, self.pool)):
                found[index].append(logits)
                computed[index] += sizes[index]
        for expected, pieces in zip(plain, found, strict=True):
            self._compare(expected, torch.cat(pieces))

    def _compare(self, expected: Tensor, packed: Tensor) -> None:
        tolerance = _TOLERANCE[self.model.dtype]
        difference = float((expected - packed).abs().max() / expected.abs().max())
        if not difference <= tolerance:
            raise ModelError(
                f"The embedded engine does not compute {self.model.config.model_type!r} faithfully: logits differ by "
                f"{difference:.2e} of the largest, {tolerance:.0e} is allowed."
            )


def _check_family(config: Any) -> None:
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"The embedded engine does not serve models of type {config.model_type!r}.",
            hint=f"It serves: {', '.join(FAMILIES)}",
        )
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [str(part.get("rope_type")) for part in [rope, *rope.values()] if isinstance(part, dict)]
    for kind in kinds:
        if kind in _BATCH_DEPENDENT_ROPE:
            raise ModelError(f"The embedded engine does not serve rotary positions of type {kind!r}.")
