"""Stored chats and responses as rows of a run: chosen when the run is made, read again when it runs.

`item` has what was asked (`input`) and what was answered then (`output`), so that another model can be asked the same
and compared; `sample` is the answer. Of a chat with several choices it is the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from tunesmith.errors import NotFound
from tunesmith.serve.api.evals.data_sources import MOST_KEPT, GivenSample, KeptChats, KeptResponses, SourceRow
from tunesmith.serve.api.evals.transcript import plain, spoken
from tunesmith.serve.failures import invalid
from tunesmith.store.chats import ChatFilter, ChatStore
from tunesmith.store.database import Database
from tunesmith.store.responses import chain_of, newest_responses
from tunesmith.types.chats import StoredChat
from tunesmith.types.responses import StoredResponse

__all__ = ["KeptRow", "LostRow", "kept_rows", "picked"]

_PARAM = "data_source.source"


class KeptRow(SourceRow):
    """A stored answer: the model that gave it, the messages it was asked with, and why it ended."""

    model: str
    messages: list[dict[str, Any]]
    finish_reason: str


class LostRow(SourceRow):
    """A stored answer that is not there any more, or not whole."""

    reason: str


def picked(
    database: Database, project: str, source: KeptChats | KeptResponses, metadata: Mapping[str, str]
) -> tuple[str, ...]:
    """Ids of the stored answers that the filters want and that have this metadata too, the oldest first.

    Raises ApiError 400 when there are none, or more than a run takes.
    """
    pairs = frozenset([*metadata.items(), *(source.metadata or {}).items()])
    most = source.limit or MOST_KEPT + 1
    if isinstance(source, KeptChats):
        wanted = ChatFilter(source.model, pairs, source.created_after, source.created_before)
        found = ChatStore(database).newest(project, wanted, most)
    else:
        fits = (one.id for one in _made(database, project, source) if _fits(one, source, pairs))
        found = tuple(reversed(list(islice(fits, most))))
    kind = "chat completion (one made with store: true)" if isinstance(source, KeptChats) else "response"
    if not found:
        raise invalid(f"No stored {kind} fits the filters of the eval and of the data source.", _PARAM)
    if len(found) > MOST_KEPT:
        raise invalid(
            f"More than {MOST_KEPT} stored answers fit, the most a run takes. Narrow the filters, or take the newest "
            "ones with limit.",
            _PARAM,
        )
    return found


def kept_rows(
    database: Database, project: str, source: KeptChats | KeptResponses, picks: tuple[str, ...]
) -> Iterator[SourceRow]:
    """The picked answers in their order; what was deleted since is a LostRow."""
    store = ChatStore(database)
    for identity in picks:
        try:
            if isinstance(source, KeptChats):
                yield _of_chat(store.get(project, identity))
            else:
                with database.transaction() as session:
                    chain = chain_of(session, project, identity)
                yield _of_response(chain)
        except NotFound as error:
            reason = f"The stored answer {identity} is not there any more, or not whole: {error.message}"
            yield LostRow(item={"id": identity}, reason=reason)


def _made(database: Database, project: str, source: KeptResponses) -> Iterator[StoredResponse]:
    return newest_responses(database, project, source.created_after, source.created_before)


def _fits(response: StoredResponse, source: KeptResponses, pairs: frozenset[tuple[str, str]]) -> bool:
    content = response.content
    wanted = {"model": source.model, "temperature": source.temperature, "top_p": source.top_p}
    if any(value is not None and content[name] != value for name, value in wanted.items()):
        return False
    searched = source.instructions_search
    if searched is not None and searched.casefold() not in (content["instructions"] or "").casefold():
        return False
    if source.tools is not None and not {tool["name"] for tool in content["tools"]} & set(source.tools):
        return False
    if source.users is not None and content["user"] not in source.users:
        return False
    return pairs <= content["metadata"].items()


def _of_chat(chat: StoredChat) -> KeptRow:
    choice = chat.content["choices"][0]
    message = {name: value for name, value in choice["message"].items() if value is not None}
    sample = GivenSample(output_text=message.get("content") or "", output_tools=message.get("tool_calls"))
    asked = {"input": list(chat.messages), "output": [message], "tools": chat.content["tools"]}
    return KeptRow(
        item=_about(chat) | asked | {"metadata": dict(chat.metadata)},
        sample=sample,
        model=chat.model,
        messages=plain(chat.messages),
        finish_reason=choice["finish_reason"],
    )


def _of_response(chain: tuple[StoredResponse, ...]) -> KeptRow:
    """The last of a chain; what was said before it is part of what it was asked with, and so are its instructions."""
    response = chain[-1]
    content = response.content
    told = content["instructions"]
    asked: list[Any] = [{"type": "message", "role": "system", "content": told}] if told else []
    for earlier in chain[:-1]:
        asked += [*earlier.input, *earlier.content["output"]]
    asked += response.input
    text, calls, finish_reason = spoken(content)
    more = {name: content[name] for name in ("output", "tools", "instructions", "metadata")}
    return KeptRow(
        item=_about(response) | more | {"input": asked},
        sample=GivenSample(output_text=text, output_tools=calls or None),
        model=content["model"],
        messages=plain(asked),
        finish_reason=finish_reason,
    )


def _about(kept: StoredChat | StoredResponse) -> dict[str, Any]:
    return {"id": kept.id, "created_at": kept.created_at, "model": kept.content["model"]}
