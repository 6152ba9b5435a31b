"""The contract of an objective: a pure loss on what the model said of groups of sequences. Plugins lie in
`tunesmith.train.objectives`.

A `Group` is one example of the plan: one sequence for supervised tuning, a chosen and a rejected one for preferences,
several completions of one prompt for policy gradients. The loop scores all sequences of a piece at once (as one prefix
tree, so a shared prompt is computed once) and hands the objective what came out, in the order of the groups' rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor

from tunesmith.errors import Problem
from tunesmith.train.divergence import Divergence
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Rendered, Shape

if TYPE_CHECKING:
    from tunesmith.models.template import Renderer

__all__ = ["Group", "Identity", "Needs", "Objective", "Scored", "Share", "TeacherSpec", "rows_of"]


class Group(NamedTuple):
    """One example: its rendered sequences and what the objective must know of them besides.

    Only `rows` are scored with gradients. `unpaired` are scored without, once a step, by objectives that ask for it.
    `reference` is filled in before the first step for objectives that need it.
    """

    rows: tuple[Rendered, ...]
    id: str = ""
    """id of the dataset's example, by which a fault is reported"""
    margin: float = 0.0
    """by how much the first row is better than the second, where the data says so"""
    label: bool = True
    """whether the row is a wanted one (unpaired feedback)"""
    unpaired: tuple[Rendered, ...] = ()
    """sequences that only an estimate over the whole step looks at"""
    reference: tuple[float, ...] = ()
    """log-probability under the start policy of each of `rows`, then of each of `unpaired`"""
    baseline: float = 0.0
    """what `Objective.complete` found over the whole step"""
    advantages: tuple[float, ...] = ()
    """[len(rows)] how much better than expected each row did (policy gradients)"""
    prompt: tuple[int, ...] = ()
    """token ids that the model is to answer, for objectives that sample"""
    item: Mapping[str, Any] = MappingProxyType({})
    """the dataset row's own fields, for graders"""
    rewards: tuple[float | None, ...] = ()
    """[len(rows)] what a grader gave each sampled row; None where it could not be graded"""
    sampled: tuple[float, ...] = ()
    """log-probability of every trained token of all rows, in order, when it was sampled"""
    start: tuple[float, ...] = ()
    """the same under the start policy, where `Needs.start_tokens` asks for it"""
    ungraded: str = ""
    """why a sampled row could not be graded"""
    truncated: int = 0
    """sampled rows that were cut off before the model ended its turn"""


class TeacherSpec(NamedTuple):
    """A model to learn from: a base as in `model.base`, and the folder of an adapter on it."""

    base: str
    adapter: Path | None = None


class Needs(NamedTuple):
    """What an objective asks of the forward pass and of the run."""

    reference: bool = False
    """sequence log-probabilities under the start policy, computed once before the first step"""
    values: bool = False
    """a trained score head and its value at each sequence's last token, in place of log-probabilities"""
    label_smoothing: float = 0.0
    """share e of the vocabulary's mean in each log-probability: (1 - e) log p(token) + e mean_v log p(v)"""
    embedding_noise: float = 0.0
    """NEFTune's alpha: noise on the embeddings while training; 0 for none"""
    completions: int = 0
    """rows to sample from the model for each prompt at every step, with rewards; 0 for none"""
    max_tokens: int = 0
    """longest completion to sample"""
    validation_completions: int = 1
    """answers that validation grades for each row: the greedy one, or so many drawn ones"""
    start_tokens: bool = False
    """the sampled tokens' log-probabilities under the start policy, computed each step"""
    teacher: TeacherSpec | None = None
    """a second model to learn from"""
    divergence: Divergence | None = None
    """how the teacher's distributions are compared with the model's at every trained token"""


class Scored(NamedTuple):
    """What the model said of the M loss-bearing tokens of S sequences.

    A token that several sequences share (in a prefix tree) stands here once; the incidence says in which sequences it
    counts and how much: entry p means that token `token[p]` is a trained token of sequence `sequence[p]`.
    """

    logprobs: Tensor
    """[M] natural-log probability of each token, float32"""
    weights: Tensor
    """[M] loss weight of each token, summed over its sequences, float32"""
    computed_tokens: int
    """tokens that went through the model"""
    token: Tensor
    """[P] index into the M tokens"""
    sequence: Tensor
    """[P] index into the S sequences"""
    weight: Tensor
    """[P] loss weight of the token in that sequence, float32"""
    sequences: int
    """S"""
    values: Tensor | None = None
    """[S] value of the score head at each sequence's last token, where `Needs.values` asks for it (then M is 0)"""
    divergence: Tensor | None = None
    """[M] the teacher's distribution against the model's at each token, where `Needs.divergence` asks for it"""
    hits: Tensor | None = None
    """[M] bool, whether each token is the likeliest in its place; None where there are no log-probabilities"""

    def sequence_logprobs(self) -> Tensor:
        """[S] weighted sum of the log-probabilities of each sequence's trained tokens; gradients flow."""
        parts = self.logprobs.index_select(0, self.token) * self.weight
        return parts.new_zeros(self.sequences).index_add(0, self.sequence, parts)

    def lengths(self) -> Tensor:
        """[S] sum of the loss weights of each sequence: its number of trained tokens where weights are 1."""
        return self.weight.new_zeros(self.sequences).index_add(0, self.sequence, self.weight)


class Share(NamedTuple):
    """`part` of `whole`, both counted."""

    part: float
    whole: float


class Identity(NamedTuple):
    """What must hold before the first step: `metric` (`loss`, or a name that `metrics` gives) is `expected`."""

    metric: str
    expected: float


class Objective(Value):
    """A frozen set of options with one pure function.

    `loss` is divided by the step's `amount`, so that accumulation is exact: the pieces' losses add up to the loss of
    the whole step.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("conversation",)
    """kinds of datasets it trains on"""

    unpaired: ClassVar[bool] = False
    """whether it judges answers one by one: each answer of a pair then makes a group of its own, with its label and a
    mismatched sequence in `Group.unpaired`"""

    @property
    def needs(self) -> Needs:
        """What the run must provide besides log-probabilities."""
        return Needs()

    def weighted(self, row: Rendered, conversation: Conversation, renderer: Renderer) -> Rendered:
        """A rendered sequence with the loss weights that this objective gives its tokens; unchanged unless told."""
        return row

    def problems(self, conversations: Sequence[Conversation]) -> list[Problem]:
        """Options that would have no effect on these training rows; none unless told."""
        return []

    @abstractmethod
    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of this piece of a step; `normaliser` is the `amount` of all groups of the step."""

    def amount(self, groups: Sequence[Group]) -> float:
        """What these groups add to the step's normaliser: their number unless told otherwise."""
        return float(len(groups))

    def complete(self, groups: Sequence[Group], logprobs: Callable[[Sequence[Rendered]], Tensor]) -> Sequence[Group]:
        """The groups of one whole step, with what can only be known over all of them together.

        Called once per step before it is cut into pieces. `logprobs` gives [len(rows)] sequence log-probabilities
        under the present policy, without gradients. The default changes nothing.
        """
        return groups

    def reward(self, logprobs: Tensor, start: Tensor, lengths: Tensor) -> Tensor:
        """[S] what this objective raises for better answers, up to a factor; held-out answers are compared by it.

        `logprobs` and `start` [S] are the answers' log-probabilities under the trained and the start policy, `lengths`
        [S] their tokens. Unless told otherwise the log-ratio (Rafailov et al. 2023, arXiv:2305.18290, eq. 5).
        """
        return logprobs - start

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """Means over `groups` of what is worth watching besides the loss; nothing unless told otherwise."""
        return {}

    def shares(self, scored: Scored) -> dict[str, Share]:
        """Shares of something countable to watch besides; those of a step's pieces are added. Nothing unless told."""
        return {}

    def depends_on(self, home: Path) -> tuple[str, ...]:
        """Digests of what else the result depends on, such as another model; part of the run's identity."""
        return ()

    def yardstick(self) -> tuple[Any, ...]:
        """What a validation loss of this objective means, as plain values: where they are equal, losses compare."""
        return type(self).__name__, self.model_dump(mode="json")

    @property
    def identities(self) -> tuple[Identity, ...]:
        """What must hold on real rows before the first step."""
        return ()


def rows_of(groups: Sequence[Group]) -> list[Rendered]:
    """The sequences of all groups in order: what is scored at once."""
    return [row for group in groups for row in group.rows]
