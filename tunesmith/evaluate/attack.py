"""The contract of an attack: a pure function from an item to the same request in disguise.

Plugins lie in `tunesmith.evaluate.attacks`. The reader `attacks` crosses items with them, so that the rate at which
each attack succeeds is a slice of the report.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple, cast

from tunesmith.evaluate.configured import configured
from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.fields import PluginSpec
from tunesmith.types.suite import Item

__all__ = ["FOLDER", "NONE", "Attack", "Disguise", "attacked", "load_attack"]

FOLDER = "tunesmith.evaluate.attacks"
NONE = "none"
"""The tag `attack` of a request that is asked as it is."""


class Disguise(NamedTuple):
    """A request as an attack puts it: `messages` take the place of the user's last one. `variant` tells those of one
    attack apart.
    """

    messages: tuple[Message, ...]
    variant: str = ""


class Attack(Value):
    """A frozen value whose fields are the attack's options. The same request always gets the same disguises."""

    meaning: ClassVar[str]
    """what it does, in one plain line with its source"""

    @abstractmethod
    def disguises(self, request: str) -> Iterator[Disguise]:
        """The request in each of the attack's forms."""

    def items(self, item: Item) -> tuple[Item, ...]:
        """The item under this attack: tagged with the attack's name, in the group of the item it came from.

        Nothing for an item that does not end with a user's message: there is no request to disguise.
        """
        name, last = type(self).__module__.rpartition(".")[2], item.messages[-1]
        if last.role != "user" or not last.content:
            return ()
        return tuple(self._item(item, name, disguise) for disguise in self.disguises(last.content))

    def _item(self, item: Item, name: str, disguise: Disguise) -> Item:
        variant = {"variant": disguise.variant} if disguise.variant else {}
        changes = {
            "id": "/".join(filter(None, (item.id, name, disguise.variant))),
            "messages": (*item.messages[:-1], *disguise.messages),
            "tags": {**item.tags, "attack": name, **variant},
            "group": item.group or item.id,
        }
        return item.model_copy(update=changes)


def attacked(item: Item, attacks: Sequence[Attack]) -> tuple[Item, ...]:
    """The item as it is, tagged `attack: none` unless it has such a tag, then under each of `attacks`.

    All are of one group: they ask for the same, so their answers are not independent.
    """
    plain = {"tags": {"attack": NONE, **item.tags}, "group": item.group or item.id}
    return (item.model_copy(update=plain), *(each for attack in attacks for each in attack.items(item)))


def load_attack(spec: PluginSpec) -> Attack:
    """The attack that `spec` names, with its options.

    Raises NotFound with the nearest match, RecipeError with every option that is not acceptable.
    """
    return cast(Attack, configured(FOLDER, spec, "attack"))
