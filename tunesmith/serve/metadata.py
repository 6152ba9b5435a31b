"""Metadata as OpenAI has it: what callers label their things with, and find them by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

__all__ = ["METADATA_QUERY", "Metadata", "asked_metadata"]

_PAIR = re.compile(r"metadata\[(.+)\]")

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
"""At most 16 pairs; keys of up to 64 characters, values of up to 512."""

METADATA_QUERY: Mapping[str, Any] = MappingProxyType(
    {
        "name": "metadata",
        "in": "query",
        "style": "deepObject",
        "explode": True,
        "required": False,
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }
)
"""What `asked_metadata` reads, as the OpenAPI document says it."""


def asked_metadata(request: Request) -> dict[str, str]:
    """`metadata[key]=value` of the query."""
    found = ((_PAIR.fullmatch(name), value) for name, value in request.query_params.multi_items())
    return {match.group(1): value for match, value in found if match is not None}
