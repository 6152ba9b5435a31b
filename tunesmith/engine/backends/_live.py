"""Sampling from a model while it is being trained, by the packed forward that serves.

The forward runs over a structural copy of the live module: other module objects around the very same parameters and
buffers, so the weights are always those of this moment, whatever the method, and the training module keeps its own
attention. Everything advances in lockstep from a fixed order, without the serving engine's queue, thread and
kept prefixes: the same weights, prompts and seeds give the same tokens, which bit-exact resume needs. A prompt is
computed once; its keys and values are copied for each of its completions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from tunesmith.engine.backends._attention import NAME, KVPool, PackedStep, Segment, register_attention
from tunesmith.engine.backends._regions import Region, region_of
from tunesmith.engine.backends._sampling import choose, logprobs_of
from tunesmith.engine.engine import Sampling

__all__ = ["Limits", "LiveSampler", "Sampled"]


class Limits(Protocol):
    """What bounds a completion."""

    @property
    def max_tokens(self) -> int:
        """Most tokens, with the end-of-turn token."""


class Sampled(NamedTuple):
    """One completion: its tokens, each one's natural-log probability, and whether the model ended its turn."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    ended: bool


class _Answer:
    """A completion in the making: its keys stand at pool slots from `start`, `computed` of them so far."""

    def __init__(self, start: int, computed: int, seed: int) -> None:
        self.start = start
        self.computed = computed
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.ended = False
        self.sampling = Sampling(temperature=0.0 if seed < 0 else 1.0)
        self.generator = torch.Generator().manual_seed(max(0, seed))

    def take(self, logits: Tensor, stop_ids: frozenset[int]) -> None:
        """Choose the next token from logits [V]."""
        token = choose(logits, self.sampling, self.generator)
        self.tokens.append(token)
        self.logprobs.append(logprobs_of(logits[None], [token])[0])
        self.ended = token in stop_ids


class LiveSampler:
    """Samples completions of at most `kv_tokens` tokens (prompts with their completions) at a time.

    A prompt and one completion that need more are computed all the same, alone.
    """

    def __init__(self, stop_ids: frozenset[int], kv_tokens: int = 16384) -> None:
        self._stop_ids = stop_ids
        self._kv_tokens = kv_tokens
        self._copied: tuple[list[int], Any] | None = None
        register_attention()

    @torch.inference_mode()
    def sample(
        self, model: Any, prompts: Sequence[tuple[int, ...]], seeds: Sequence[Sequence[int]], limits: Limits
    ) -> list[list[Sampled]]:
        """For each prompt one completion per seed at temperature 1; a negative seed means the likeliest tokens."""
        module = self._live(model)
        found: list[list[Sampled]] = [[] for _ in prompts]
        for wave in self._waves(prompts, seeds, limits.max_tokens):
            answers = self._wave(module, [(prompts[index], own) for index, own in wave], limits.max_tokens)
            for (index, _), own in zip(wave, answers, strict=True):
                found[index] += [Sampled(tuple(each.tokens), tuple(each.logprobs), each.ended) for each in own]
        return found

    def _live(self, model: Any) -> Any:
        """The model inside `model` (without peft's outer shell) as other modules around the same tensors; made once."""
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        shared = {id(tensor): tensor for tensor in chain(inner.parameters(), inner.buffers())}
        made_of = [id(inner), *shared]
        if self._copied is None or self._copied[0] != made_of:
            live = copy.deepcopy(inner, dict(shared)).eval()
            live.set_attn_implementation(NAME)
            self._copied = (made_of, live)
        return self._copied[1]

    def _waves(
        self, prompts: Sequence[tuple[int, ...]], seeds: Sequence[Sequence[int]], max_tokens: int
    ) -> Iterator[list[tuple[int, list[int]]]]:
        """Runs of (prompt, some of its seeds) that fit into the pool together."""
        wave: list[tuple[int, list[int]]] = []
        room = self._kv_tokens
        for index, (prompt, own) in enumerate(zip(prompts, seeds, strict=True)):
            size = len(prompt) + max_tokens
            for seed in own:
                if wave and size > room:
                    yield wave
                    wave, room = [], self._kv_tokens
                if wave and wave[-1][0] == index:
                    wave[-1][1].append(seed)
                else:
                    wave.append((index, [seed]))
                room -= size
        if wave:
            yield wave

    def _wave(
        self, module: Any, wave: Sequence[tuple[tuple[int, ...], list[int]]], max_tokens: int
    ) -> list[list[_Answer]]:
        forward = partial(_forward, module, region_of(module))
        pool = KVPool(sum(len(seeds) * (len(prompt) + max_tokens) for prompt, seeds in wave))
        answers: list[list[_Answer]] = []
        start = 0
        for prompt, seeds in wave:
            size = len(prompt) + max_tokens
            answers.append([_Answer(start + size * i, len(prompt), seed) for i, seed in enumerate(seeds)])
            start += size * len(seeds)
        opening = [(list(prompt), own[0].start, 0) for (prompt, _), own in zip(wave, answers, strict=True)]
        for logits, own, (prompt, _) in zip(forward(pool, opening), answers, wave, strict=True):
            for answer in own[1:]:
                pool.copy(own[0].start, answer.start, len(prompt))
            for answer in own:
                answer.take(logits, self._stop_ids)
        for _ in range(max_tokens - 1):
            going = [answer for own in answers for answer in own if not answer.ended]
            if not going:
                break
            step = [([answer.tokens[-1]], answer.start, answer.computed) for answer in going]
            for answer, logits in zip(going, forward(pool, step), strict=True):
                answer.computed += 1
                answer.take(logits, self._stop_ids)
        return answers


def _forward(module: Any, region: Region | None, pool: KVPool, parts: Sequence[tuple[list[int], int, int]]) -> Tensor:
    """float32 logits [len(parts), V] after each part (token ids, its first pool slot, tokens computed before)."""
    segments: list[Segment] = []
    last = 0
    for ids, start, computed in parts:
        segments.append(Segment(last, last + len(ids), start, computed + len(ids)))
        last += len(ids)
    device = next(module.parameters()).device
    ids = [token for part in parts for token in part[0]]
    positions = [place for part, _, computed in parts for place in range(computed, computed + len(part))]
    with nullcontext() if region is None else region.threads_for(last):
        logits: Tensor = module(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            logits_to_keep=torch.tensor([segment.last - 1 for segment in segments], device=device),
            packed_step=PackedStep(pool, segments, device),
        ).logits[0]
    return logits.float().cpu()  # where the seeded generators draw
