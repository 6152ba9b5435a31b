"""From prompts to the groups that policy gradients train on.

Before the first step nobody has answered yet, while self-checks and the memory plan need rows. They get a rehearsal:
`completions` made-up answers of `max_tokens` tokens to each prompt, the most that sampling may give.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tunesmith.models.template import Renderer
from tunesmith.train.objective import Group, Needs
from tunesmith.train.rollouts import Completion, completed_row
from tunesmith.types.dataset import Example

__all__ = ["prompt_groups", "rehearsed"]


def prompt_groups(renderer: Renderer, examples: Sequence[Example], needs: Needs) -> list[Group]:
    """One group per prompt, with the row's own fields for the grader and rehearsal completions."""
    groups = []
    for example in examples:
        content = example.content
        prompt = renderer.prompt_ids(content.prompt, content.tools)
        asked = [message.model_dump(mode="json", exclude_defaults=True) for message in content.prompt]
        item = {"messages": asked, **json.loads(content.metadata.get("item", "{}"))}
        groups.append(rehearsed(Group(rows=(), id=example.id, prompt=prompt, item=item), needs))
    return groups


def rehearsed(group: Group, needs: Needs) -> Group:
    """`group` with made-up completions that differ from their first token on, rewards in turn 1 and 0."""
    distinct = sorted(set(group.prompt))
    made = []
    for index in range(needs.completions):
        ids = tuple(distinct[(index + place) % len(distinct)] for place in range(needs.max_tokens))
        made.append(Completion(ids, (-1.0,) * needs.max_tokens, ended=True))
    tokens = tuple(logprob for completion in made for logprob in completion.logprobs)
    return group._replace(
        rows=tuple(completed_row(group.prompt, completion) for completion in made),
        sampled=tokens,
        start=tokens if needs.start_tokens else (),
        rewards=tuple(float(index % 2) for index in range(needs.completions)),
    )
