"""From rendered rows to the log-probabilities of their trained tokens: as one prefix tree, or as padded rows.

Both give the same numbers; `padded` is the plain computation that every model supports and the oracle of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch

from tunesmith.errors import ModelError, Problem, RecipeError
from tunesmith.models.device import CPU
from tunesmith.models.score_head import score_head
from tunesmith.models.teacher import teacher_of
from tunesmith.train.backbone import parts, tree_states
from tunesmith.train.divergence import Divergence, token_divergence
from tunesmith.train.logprobs import logprobs_and_hits
from tunesmith.train.noise import noisy
from tunesmith.train.objective import Needs, Scored
from tunesmith.train.tree import Ints, PrefixTree, fold
from tunesmith.train.tree_plans import tree_attention_for
from tunesmith.train.trunk import Trunk
from tunesmith.types.conversation import Rendered
from tunesmith.types.recipe import TreeAttention

__all__ = ["SHARDED", "Batching", "attention_backend", "attention_for", "score", "score_here", "score_plainly"]

Batching = Literal["tree", "padded"]
PLAIN = Needs()
SHARDED = "tunesmith_sharded_score"
"""attribute of a model whose weights are spread over several processes: scores as `score_here`, gathering them"""


def score(
    model: Any, rows: Sequence[Rendered], batching: Batching, trunk: Trunk | None = None, needs: Needs = PLAIN
) -> Scored:
    """Log-probabilities of all trained tokens of `rows` under a peft (or plain) causal language model.

    With a `trunk` that knows `rows`, only the layers above it are computed. `needs` adds what an objective asks for.
    """
    gathering = getattr(model, SHARDED, None)
    return (
        score_here(model, rows, batching, trunk, needs)
        if gathering is None
        else gathering(rows, batching, trunk, needs)
    )


def score_here(model: Any, rows: Sequence[Rendered], batching: Batching, trunk: Trunk | None, needs: Needs) -> Scored:
    """`score` for a model whose weights are all in this process."""
    return _score_tree(model, rows, trunk, needs) if batching == "tree" else _score_padded(model, rows, needs)


@contextmanager
def attention_backend(model: Any, name: str) -> Iterator[None]:
    """Run `model` with another attention implementation inside the block."""
    config = model.config
    before = config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _score_tree(model: Any, rows: Sequence[Rendered], trunk: Trunk | None, needs: Needs) -> Scored:
    tree = fold(rows)
    chosen = np.flatnonzero((tree.weight > 0) & (tree.parent >= 0))
    states = _tree_states_at(model, rows, tree, trunk, needs, tree.leaf if needs.values else tree.parent[chosen])
    if needs.values:
        return _values(model, states, tree.size)
    _, head = parts(model)
    device = states.device
    targets = torch.from_numpy(tree.token_ids[chosen]).to(device)
    weights = torch.from_numpy(tree.weight[chosen]).to(device)
    token, sequence, weight = (part.to(device) for part in _incidence(tree, chosen, rows))
    divergence = None
    if needs.divergence is not None:
        teacher = teacher_of(model)
        with torch.no_grad():
            translated = tree._replace(token_ids=teacher.ids.cpu().numpy()[tree.token_ids])
            taught = tree_states(parts(teacher.model)[0], translated, nodes=tree.parent[chosen])
        divergence = _divergence(states, head.weight, taught, teacher.output, needs.divergence)
    logprobs, hits = logprobs_and_hits(states, head.weight, targets, needs.label_smoothing)
    return Scored(
        logprobs=logprobs,
        weights=weights,
        computed_tokens=tree.size,
        token=token,
        sequence=sequence,
        weight=weight,
        sequences=len(rows),
        divergence=divergence,
        hits=hits,
    )


def _tree_states_at(
    model: Any, rows: Sequence[Rendered], tree: PrefixTree, trunk: Trunk | None, needs: Needs, nodes: Ints
) -> torch.Tensor:
    """Last states [M, H] at `nodes` [M] of the tree."""
    backbone, head = parts(model)
    if trunk is not None:
        return tree_states(trunk.upper, tree, trunk.states(tree, rows), nodes)
    if not (needs.embedding_noise and model.training):
        return tree_states(backbone, tree, nodes=nodes)
    ids = torch.from_numpy(tree.token_ids).to(head.weight.device)
    lengths = np.zeros(tree.size, dtype=np.int64)
    for path in tree.paths:
        lengths[path] = np.maximum(lengths[path], len(path))
    embeddings = backbone.get_input_embeddings()(ids)
    return tree_states(backbone, tree, noisy(embeddings, lengths, needs.embedding_noise), nodes)


def _divergence(
    hidden: torch.Tensor, weight: torch.Tensor, taught: torch.Tensor, output: torch.Tensor, how: Divergence
) -> torch.Tensor:
    """Rows of an output embedding beyond the vocabulary are padding, which no token has."""
    return token_divergence(hidden, weight[: len(output)], taught, output, how)


def _incidence(tree: PrefixTree, chosen: Ints, rows: Sequence[Rendered]) -> Iterator[torch.Tensor]:
    """token, sequence and weight [P] of `Scored`: which of the `chosen` nodes count in which row, and how much."""
    place = np.zeros(tree.size, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    tokens, sequences, weights = [], [], []
    for index, (row, path) in enumerate(zip(rows, tree.paths, strict=True)):
        own = np.asarray(row.loss_weights, dtype=np.float32)
        trained = np.flatnonzero(own[1:] > 0) + 1
        tokens.append(place[path[trained]])
        sequences.append(np.full(len(trained), index, dtype=np.int64))
        weights.append(own[trained])
    return (torch.from_numpy(np.concatenate(parts)) for parts in (tokens, sequences, weights))


def _score_padded(model: Any, rows: Sequence[Rendered], needs: Needs) -> Scored:
    backbone, head = parts(model)
    device = head.weight.device
    ids, visible, weights = (part.to(device) for part in _pad(rows))
    given = {"input_ids": ids}
    if needs.embedding_noise and model.training:
        embeddings = backbone.get_input_embeddings()(ids)
        lengths = np.repeat([[len(row.token_ids)] for row in rows], ids.shape[1], axis=1)
        given = {"inputs_embeds": noisy(embeddings, lengths, needs.embedding_noise)}
    states = backbone(**given, attention_mask=visible, use_cache=False).last_hidden_state
    if needs.values:
        last = torch.tensor([len(row.token_ids) - 1 for row in rows], device=device)
        return _values(model, states[torch.arange(len(rows), device=device), last], ids.numel())
    row, column = torch.nonzero(weights[:, 1:] > 0, as_tuple=True)
    weight = weights[row, column + 1]
    divergence = None
    if needs.divergence is not None:
        teacher = teacher_of(model)
        with torch.no_grad():
            seen = {"attention_mask": visible, "use_cache": False}
            taught = parts(teacher.model)[0](input_ids=teacher.ids[ids], **seen).last_hidden_state[row, column]
        divergence = _divergence(states[row, column], head.weight, taught, teacher.output, needs.divergence)
    targets = ids[row, column + 1]
    logprobs, hits = logprobs_and_hits(states[row, column], head.weight, targets, needs.label_smoothing)
    return Scored(
        logprobs=logprobs,
        weights=weight,
        computed_tokens=ids.numel(),
        token=torch.arange(len(row), device=device),
        sequence=row,
        weight=weight,
        sequences=len(rows),
        divergence=divergence,
        hits=hits,
    )


def _values(model: Any, last: torch.Tensor, computed: int) -> Scored:
    """The score head's values at the sequences' last states [S, H], and no log-probabilities."""
    head = score_head(model)
    if head is None:
        raise ModelError("The model has no score head.", hint="Train with the reward objective.")
    none, nothing = last.new_empty(0, dtype=torch.float32), torch.empty(0, dtype=torch.long, device=last.device)
    values = head(last.float()).squeeze(-1)
    return Scored(none, none, computed, nothing, nothing, none, len(last), values)


def score_plainly(model: Any, rows: Sequence[Rendered]) -> list[torch.Tensor]:
    """The reference: each row alone through the model's own forward and its own logits. [trained tokens] per row."""
    results = []
    for row in rows:
        ids = torch.tensor([row.token_ids], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        logprobs = torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None].clamp(min=0)).squeeze(1)
        results.append(logprobs[torch.tensor(row.loss_weights[1:], device=ids.device) > 0])
    return results


def _pad(rows: Sequence[Rendered]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, visibility and loss weights, each [B, T], padded on the right."""
    longest = max(len(row.token_ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    visible = torch.zeros_like(ids)
    weights = torch.zeros(len(rows), longest)
    for index, row in enumerate(rows):
        length = len(row.token_ids)
        ids[index, :length] = torch.tensor(row.token_ids)
        visible[index, :length] = 1
        weights[index, :length] = torch.tensor(row.loss_weights)
    return ids, visible, weights


def attention_for(batching: Batching, device: torch.device = CPU, kind: TreeAttention = "auto") -> str:
    """The attention implementation a model must be loaded with for `batching` on `device`.

    Raises RecipeError for a `kind` that cannot be.
    """
    if batching == "tree":
        return tree_attention_for(device, kind)
    if kind != "auto":
        problem = Problem(f"{kind!r} has no effect with train.batching: padded", field="train.attention", fix="auto")
        raise RecipeError([problem])
    return "sdpa"
