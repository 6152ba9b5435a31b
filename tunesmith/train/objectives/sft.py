"""Supervised fine-tuning: weighted mean negative log-likelihood of the trained tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from tunesmith.errors import Problem, nearest
from tunesmith.train.json_fields import json_fields
from tunesmith.train.objective import Group, Needs, Objective, Scored, Share, rows_of
from tunesmith.types.conversation import Conversation, Rendered, Shape

if TYPE_CHECKING:
    from tunesmith.models.template import Renderer

__all__ = ["Sft"]


class Sft(Objective):
    """loss = - sum_k w_k log p(token_k | tokens before) / sum_k w_k, over all trained tokens of the optimizer step.

    By hand: log-probs (-1, -3) with weights (1, 2) give (1 + 6) / 3 = 7/3.

    `field_weights` raises w_k from 1 for the tokens of named fields of answers that hold JSON, for example
    `{status: 4, answer.citations: 2}`: keys from the root joined by dots, lists add nothing; weights of fields inside
    each other multiply. `label_smoothing` e puts (1 - e) log p(token) + e mean_v log p(v) in place of log p (Szegedy et
    al. 2016, arXiv:1512.00567), in the validation loss too. `neftune_alpha` adds noise to the embeddings while training
    (Jain et al. 2023, arXiv:2310.05914; 5 is usual): frozen lower layers then say something else at every step and are
    computed anew each time instead of once, and sequences that share a token in a prefix tree share its noise.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("conversation", "text")

    field_weights: dict[str, float] = {}
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    neftune_alpha: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _weights_are_positive(self) -> Sft:
        wrong = [f"{name}: {weight}" for name, weight in self.field_weights.items() if not 0 < weight < float("inf")]
        if wrong:
            raise ValueError(f"field_weights must be above 0 ({', '.join(wrong)})")
        return self

    @property
    def needs(self) -> Needs:
        """What smoothing and noise ask for."""
        return Needs(label_smoothing=self.label_smoothing, embedding_noise=self.neftune_alpha)

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        return -(scored.logprobs * scored.weights).sum() / normaliser

    def amount(self, groups: Sequence[Group]) -> float:
        """Sum of the loss weights."""
        return sum(sum(row.loss_weights) for row in rows_of(groups))

    def shares(self, scored: Scored) -> dict[str, Share]:
        """`token_accuracy`: of the trained tokens, whatever their weights, those that the model finds likeliest."""
        if scored.hits is None:
            return {}
        return {"token_accuracy": Share(float(scored.hits[scored.token].sum()), float(len(scored.token)))}

    def weighted(self, row: Rendered, conversation: Conversation, renderer: Renderer) -> Rendered:
        """The sequence with the weights of the named fields' tokens multiplied."""
        if not self.field_weights:
            return row
        weights = list(row.loss_weights)
        for span in row.spans:
            content = conversation.messages[span.message].content if span.trained else None
            if not content:
                continue
            text, characters = renderer.turn_characters(conversation, span.message)
            begin = text.index(content.strip())
            for name, start, end in json_fields(content.strip()):
                for token, (left, right) in enumerate(characters, start=span.start):
                    if left < begin + end and right > begin + start:
                        weights[token] *= self.field_weights.get(name, 1.0)
        return row.model_copy(update={"loss_weights": tuple(weights)})

    def yardstick(self) -> tuple[Any, ...]:
        """All options but the noise, which is added in training alone."""
        return type(self).__name__, self.model_dump(mode="json", exclude={"neftune_alpha"})

    def problems(self, conversations: Sequence[Conversation]) -> list[Problem]:
        """A problem for each named field that no trained answer has."""
        if not self.field_weights:
            return []
        messages = [message for row in conversations for message in row.messages if message.role == "assistant"]
        known = sorted({field.name for message in messages for field in json_fields(message.content or "")})
        has = f"the answers have {', '.join(known[:10])}" if known else "no answer holds JSON"
        found = []
        for name in self.field_weights:
            if name not in known:
                close = nearest(name, known)
                fix = f"did you mean {close!r}? {has}" if close else has
                place = f"train.objective.field_weights.{name}"
                found.append(Problem("no training answer has this field", field=place, fix=fix))
        return found
