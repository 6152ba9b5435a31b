"""Messages as a chat template takes them, with tools written out as text for templates that know none.

A template that carries tools itself (it shows the tools offered, the calls made and their results) is left alone. For
any other, the tools stand at the end of the system message, a call is text of the assistant's turn and a result is a
message of the user, in the form of Nous Research's Hermes models, which Qwen's templates use too. Training and serving
both render through this module, so a model is asked for tools exactly as it was trained with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tunesmith.errors import RenderingError
from tunesmith.types.conversation import Message, ToolCall

__all__ = ["as_given", "written_out"]

_OFFER = """# Tools

You may call one or more functions to assist with the user query. The signatures of the functions are:
<tools>
{tools}
</tools>

For each function call, write a JSON object with the function's name and arguments:
<tool_call>
{{"name": <function-name>, "arguments": <arguments-object>}}
</tool_call>"""


def as_given(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as chat templates expect them: tool-call arguments as objects, absent fields left out."""
    return [_as_dict(message) for message in messages]


def written_out(messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same conversation (as `as_given` makes it) with tools, calls and results as text."""
    written: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "tool":
            result = f"<tool_response>\n{message['content']}\n</tool_response>"
            if written and written[-1]["role"] == "tool":
                written[-1]["content"] += f"\n{result}"
            else:
                written.append({"role": "tool", "content": result})
        elif message.get("tool_calls"):
            parts = [message["content"]] if message["content"] else []
            parts += [_call(call["function"]) for call in message["tool_calls"]]
            written.append({"role": message["role"], "content": "\n".join(parts)})
        else:
            written.append(dict(message))
    for message in written:
        message["role"] = "user" if message["role"] == "tool" else message["role"]
    if not tools:
        return written
    offer = _OFFER.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
    if written and written[0]["role"] in ("system", "developer"):
        written[0]["content"] += f"\n\n{offer}"
    else:
        written.insert(0, {"role": "system", "content": offer})
    return written


def _call(function: dict[str, Any]) -> str:
    said = json.dumps({"name": function["name"], "arguments": function["arguments"]}, ensure_ascii=False)
    return f"<tool_call>\n{said}\n</tool_call>"


def _as_dict(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content if message.content is not None else ""}
    if message.name:
        plain["name"] = message.name
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    return plain


def _arguments(call: ToolCall) -> Any:
    try:
        return json.loads(call.function.arguments)
    except json.JSONDecodeError as error:
        raise RenderingError(f"The arguments of tool call {call.id!r} are not JSON: {error}") from error
