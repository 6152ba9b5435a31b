"""The OpenAPI document: what FastAPI knows of the routes, and what all of them have in common here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tunesmith.serve.access import OPEN_PATHS

__all__ = ["describe"]

_FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "400": "The request is not acceptable; `param` names the field.",
        "401": "The key is missing, unknown, expired or revoked.",
        "403": "The key may not do this.",
        "404": "There is no such thing in the key's project.",
        "405": "The address knows other methods.",
        "408": "The body came too slowly.",
        "409": "The thing is in use; asking again does not help.",
        "413": "The body is too large.",
        "429": "A limit is reached; Retry-After says in how many seconds to ask again.",
        "500": "The server failed.",
        "503": "The server cannot do this now.",
    }
)
_ENVELOPE: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    }
)


def describe(app: FastAPI) -> None:
    """Serve the document of all routes of `app` at /openapi.json."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    vars(app)["openapi"] = document


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title="Tunesmith",
        version=app.version,
        summary="OpenAI's fine-tuning platform on your own machine",
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["ErrorEnvelope"] = dict(_ENVELOPE)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}}
    components["responses"] = {status: _failure(text) for status, text in _FAILURES.items()}
    found["security"] = [{"key": []}]
    for path, operations in found["paths"].items():
        for operation in operations.values():
            _complete(operation, path)
            if _can_stream(operation, schemas):
                operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return found


def _can_stream(operation: dict[str, Any], schemas: Mapping[str, Any]) -> bool:
    """Whether a request may ask for its answer as events, by its field `stream`."""
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    return "stream" in schemas.get(reference.rpartition("/")[2], {}).get("properties", {})


def _failure(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}},
    }


def _complete(operation: dict[str, Any], path: str) -> None:
    """Failures are answered in the envelope, never as FastAPI's 422."""
    responses = operation.setdefault("responses", {})
    responses.pop("422", None)
    for status in _FAILURES:
        responses.setdefault(status, {"$ref": f"#/components/responses/{status}"})
    if path in OPEN_PATHS:
        operation["security"] = []
