"""What a trained model answers, by the very forward that trained it: the trainer's side of the parity certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tunesmith.models.virtual import virtual_ids, virtual_tokens
from tunesmith.train.backbone import parts, tree_states
from tunesmith.train.forward import Batching
from tunesmith.train.tree import fold
from tunesmith.types.conversation import Rendered
from tunesmith.types.parity import Candidate, Reading

__all__ = ["Wanted", "read_trained"]


class Wanted(NamedTuple):
    """How much is read: at most `tokens` of each answer, which `stop_ids` end, with the best `candidates` of each."""

    tokens: int
    candidates: int
    stop_ids: frozenset[int]


@torch.no_grad()
def read_trained(model: Any, prompts: Sequence[tuple[int, ...]], batching: Batching, wanted: Wanted) -> list[Reading]:
    """Greedy answers to `prompts`, each token by a forward over all sequences as training computes them.

    The model's virtual tokens, if any, stand before each prompt.
    """
    before = virtual_ids(virtual_tokens(model))
    answers: list[list[int]] = [[] for _ in prompts]
    steps: list[list[tuple[Candidate, ...]]] = [[] for _ in prompts]
    for _ in range(wanted.tokens):
        going = [index for index, answer in enumerate(answers) if not answer or answer[-1] not in wanted.stop_ids]
        if not going:
            break
        rows = [(*before, *prompts[index], *answers[index]) for index in going]
        values, ids = _next(model, rows, batching).topk(wanted.candidates)
        for index, best, logprobs in zip(going, ids.tolist(), values.tolist(), strict=True):
            answers[index].append(best[0])
            named = zip(best, logprobs, strict=True)
            steps[index].append(tuple(Candidate(token_id=token, logprob=logprob) for token, logprob in named))
    return [
        Reading(prompt_ids=prompt, token_ids=tuple(answer), steps=tuple(step))
        for prompt, answer, step in zip(prompts, answers, steps, strict=True)
    ]


def _next(model: Any, rows: Sequence[tuple[int, ...]], batching: Batching) -> Tensor:
    """Natural-log probabilities [S, V], float32, of the token after each row."""
    backbone, head = parts(model)
    if batching == "tree":
        tree = fold([Rendered(token_ids=row, loss_weights=(0.0,) * len(row), spans=()) for row in rows])
        states = tree_states(backbone, tree, nodes=tree.leaf)
    else:
        alone = (torch.tensor([row], device=head.weight.device) for row in rows)
        states = torch.cat([backbone(input_ids=ids, use_cache=False).last_hidden_state[:, -1] for ids in alone])
    logits = (states @ head.weight.t()).float()
    return logits.log_softmax(-1).cpu()
