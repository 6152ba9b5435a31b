"""The contract of an item type: the fields people write in a suite, and the item they come to.

Plugins lie in `tunesmith.evaluate.items`; the file's name is what a suite writes as `type`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from pydantic import JsonValue, ValidationError

from tunesmith import plugins
from tunesmith.errors import Problem, RecipeError
from tunesmith.types.base import Value, digest_json
from tunesmith.types.conversation import Message
from tunesmith.types.fields import MetricSpec
from tunesmith.types.suite import HumanGrade, Item

__all__ = ["FOLDER", "ItemType", "read_item", "with_human_grades"]

FOLDER = "tunesmith.evaluate.items"


class ItemType(Value):
    """What every item has. `metrics` judge items of this type where the suite names none.

    The question is `messages`, or `question` with an optional `system` prompt. `human` are answers to it that people
    gave points: what the points of a judging model are compared with.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]]

    id: str = ""
    system: str | None = None
    question: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    tags: dict[str, str] = {}
    group: str = ""
    human: tuple[HumanGrade, ...] = ()

    @abstractmethod
    def item(self) -> Item:
        """The item, with an id of its content when it was given none (`self.asked` does that)."""

    def asked(self, *, question: str | None = None, **parts: Any) -> Item:
        """The item with what all types share; `parts` are the other fields of `Item`, `question` replaces the written
        one.
        """
        name = type(self).__module__.rpartition(".")[2]
        written = self.question if question is None else question
        shared = {"type": name, "messages": self._messages(written), "tools": self.tools, "tags": self.tags}
        item = Item.model_validate({"id": "", "group": self.group, **shared, **parts})
        item = item.model_copy(update={"id": self.id or digest_json(item.model_dump(mode="json"))[:16]})
        return with_human_grades(item, self.human)

    def _messages(self, question: str) -> tuple[Message, ...]:
        if bool(self.messages) == bool(question):
            raise ValueError("write the question either as `question` or as `messages`")
        opening = (Message(role="system", content=self.system),) if self.system is not None else ()
        return opening + (self.messages or (Message(role="user", content=question),))


def with_human_grades(item: Item, human: Sequence[HumanGrade]) -> Item:
    """The item with the points that people gave answers to it; they do not change its id."""
    if not human:
        return item
    grades: JsonValue = [each.model_dump(mode="json") for each in human]
    return item.model_copy(update={"expect": {**item.expect, "human": grades}})


def read_item(written: Mapping[str, JsonValue], where: str) -> tuple[Item, tuple[MetricSpec, ...]]:
    """The item that a suite's mapping describes (its `type` names the plugin), and its type's own metrics.

    `where` names the place (`suite.yaml: items.3`). Raises NotFound for an unknown type, RecipeError with all problems.
    """
    fields = dict(written)
    name = fields.pop("type", None)
    if not isinstance(name, str):
        fix = f"allowed: {', '.join(plugins.names(FOLDER))}"
        raise RecipeError([Problem("is missing", field=f"{where}.type", fix=fix)])
    kind = cast(type[ItemType], plugins.load(FOLDER, name))
    try:
        return kind.model_validate(fields).item(), kind.metrics
    except ValidationError as error:
        found = [(tuple(detail["loc"]), str(detail["msg"]).removeprefix("Value error, ")) for detail in error.errors()]
    except ValueError as error:
        found = [((), str(error))]
    fix = f"fields of {name}: {', '.join(kind.model_fields)}"
    problems = [Problem(said, field=".".join(map(str, (where, *place))), fix=fix) for place, said in found]
    raise RecipeError(problems, message=f"The {name} item cannot be used:")
