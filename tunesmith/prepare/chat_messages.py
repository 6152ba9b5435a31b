"""Reads a list of messages in OpenAI's shape, with every fault named by its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem, nearest
from tunesmith.prepare.chat_tools import read_tool_calls
from tunesmith.prepare.format import kind_of
from tunesmith.types.conversation import Message

__all__ = ["read_messages"]

_ROLES = ("system", "developer", "user", "assistant", "tool")
_MEANT: Mapping[str, tuple[str, ...]] = {
    "user": ("human", "customer", "question", "prompter"),
    "assistant": ("gpt", "chatgpt", "bot", "model", "ai", "answer"),
    "tool": ("function", "observation", "function_response", "tool_response"),
}
_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "weight")


def read_messages(found: object, field: str, problems: list[Problem]) -> list[Message]:
    """The messages of the list under `field`; those that are not well-formed add their problems and are left out."""
    if not isinstance(found, list) or not found:
        is_what = "an empty list" if found == [] else "missing" if found is None else kind_of(found)
        fix = 'write [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
        problems.append(Problem(f"must be a list of messages, is {is_what}", field=field, fix=fix))
        return []
    read = (_message(each, f"{field}[{index}]", problems) for index, each in enumerate(found))
    return [message for message in read if message is not None]


def _message(found: object, field: str, problems: list[Problem]) -> Message | None:
    """One message, or None after adding problems."""
    if not isinstance(found, dict):
        problems.append(
            Problem(f"must be an object, is {kind_of(found)}", field=field, fix='write {"role": ..., "content": ...}')
        )
        return None
    before = len(problems)
    _check_keys(found, field, problems)
    role = _role(found, field, problems)
    calls = read_tool_calls(found.get("tool_calls"), f"{field}.tool_calls", problems)
    content = _content(found, field, problems, may_lack=bool(calls))
    weight = found.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1) or role != "assistant"):
        fix = "write 0 or 1, on assistant messages only"
        problems.append(
            Problem(f"is {kind_of(weight)} on a message of role {role!r}", field=f"{field}.weight", fix=fix)
        )
    if calls and role not in (None, "assistant"):
        problems.append(
            Problem(
                "only an assistant calls tools", field=f"{field}.tool_calls", fix="remove them, or correct the role"
            )
        )
    for key in ("name", "tool_call_id"):
        if found.get(key) is not None and not isinstance(found[key], str):
            problems.append(
                Problem(
                    f"must be a text, is {kind_of(found[key])}", field=f"{field}.{key}", fix="write a text in quotes"
                )
            )
    if len(problems) > before:
        return None
    given = {key: found[key] for key in ("name", "tool_call_id") if found.get(key) is not None}
    return Message.model_validate(
        {"role": role, "content": content, "tool_calls": calls, "weight": weight and int(weight), **given}
    )


def _check_keys(found: Mapping[str, Any], field: str, problems: list[Problem]) -> None:
    for key, value in found.items():
        # Answers of OpenAI's API that are kept as rows bring such keys along: no audio, an empty list of annotations.
        if key in _KEYS or value in (None, []) or (key in ("from", "value") and "role" not in found):
            continue
        if key == "function_call":
            problems.append(Problem("is OpenAI's old form", field=f"{field}.{key}", fix="write tool_calls instead"))
            continue
        close = nearest(key, _KEYS)
        fix = f"did you mean {close!r}?" if close else f"remove it; known keys: {', '.join(_KEYS)}"
        problems.append(Problem("is not a known key of a message", field=f"{field}.{key}", fix=fix))


def _role(found: Mapping[str, Any], field: str, problems: list[Problem]) -> str | None:
    if "role" not in found:
        sharegpt = "from" in found and "value" in found
        fix = "this is ShareGPT's form: rename from to role and value to content" if sharegpt else "add the role"
        problems.append(Problem("is missing", field=f"{field}.role", fix=fix))
        return None
    role = found["role"]
    if isinstance(role, str) and role in _ROLES:
        return role
    word = role.strip().lower() if isinstance(role, str) else ""
    close = next((meant for meant, names in _MEANT.items() if word in names), None) or nearest(word, _ROLES)
    suggestion = f"did you mean {close!r}? " if close else ""
    shown = repr(role) if isinstance(role, str) else kind_of(role)
    problems.append(
        Problem(f"{shown} is not a role", field=f"{field}.role", fix=f"{suggestion}allowed: {', '.join(_ROLES)}")
    )
    return None


def _content(found: Mapping[str, Any], field: str, problems: list[Problem], *, may_lack: bool) -> str | None:
    if "role" not in found and "value" in found:
        return None
    content, field = found.get("content"), f"{field}.content"
    if isinstance(content, list):
        before = len(problems)
        content = _joined_parts(content, field, problems)
        if len(problems) > before:
            return None
    if content is None or content == "":
        if may_lack:
            return None
        is_what = "missing" if "content" not in found else "null" if content is None else "empty"
        problems.append(Problem(f"is {is_what}", field=field, fix="write a text, or remove the row"))
        return None
    if not isinstance(content, str):
        fix = f'write it in quotes: "{content}"' if isinstance(content, int | float) else "write a text"
        problems.append(Problem(f"must be a text, is {kind_of(content)}", field=field, fix=fix))
        return None
    if not content.strip() and not may_lack:
        problems.append(Problem("holds only white space", field=field, fix="write a text, or remove the row"))
    return content


def _joined_parts(parts: list[Any], field: str, problems: list[Problem]) -> str:
    texts = []
    for index, part in enumerate(parts):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if isinstance(text, str):
            texts.append(text)
        else:
            kind = part.get("type") if isinstance(part, dict) else kind_of(part)
            fix = "only text parts are read: remove it, or remove the row"
            problems.append(Problem(f"is a part of type {kind!r}", field=f"{field}[{index}]", fix=fix))
    return "".join(texts)
