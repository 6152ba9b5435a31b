"""Every failure leaves the server in OpenAI's shape: {"error": {message, type, param, code}}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tunesmith.errors import (
    DatabaseError,
    NotFound,
    RenderingError,
    RequestRefused,
    RequestTooLong,
    TunesmithError,
)
from tunesmith.serve.problems import Fault, faults_of
from tunesmith.store.windows import UnknownCursor

__all__ = ["ApiError", "answer", "as_api_error", "install", "invalid"]

_MOST_PROBLEMS = 10
_DATABASE_SECONDS = 2  # a database that is started again is back within seconds


class ApiError(TunesmithError):
    """The request cannot be served."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The envelope, all four keys always present."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None, code: str | None = None) -> ApiError:
    """A 400 that names the parameter."""
    return ApiError(400, message, param=param, code=code)


def as_api_error(error: TunesmithError) -> ApiError:
    """The HTTP meaning of an error of the product."""
    message = str(error)
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestTooLong):
        return invalid(message, "messages", "context_length_exceeded")
    if isinstance(error, RenderingError):
        return invalid(message, "messages")
    if isinstance(error, RequestRefused):
        return invalid(message, error.field)
    if isinstance(error, UnknownCursor):
        return invalid(message, "after")
    if isinstance(error, NotFound):
        return ApiError(404, message, code="not_found")
    if isinstance(error, DatabaseError):
        again = {"retry-after": str(_DATABASE_SECONDS)}
        return ApiError(503, message, kind="server_error", code="database_unavailable", headers=again)
    return ApiError(500, message, kind="server_error")


def install(app: FastAPI) -> None:
    """Answer every failure of `app` with the envelope."""

    @app.exception_handler(TunesmithError)
    async def own(_: Request, error: TunesmithError) -> JSONResponse:
        return answer(as_api_error(error))

    @app.exception_handler(RequestValidationError)
    async def validation(_: Request, error: RequestValidationError) -> JSONResponse:
        return answer(_from_validation(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        place = f"{request.method} {request.url.path}"
        texts = {404: f"Unknown request URL: {place}.", 405: f"Not allowed: {place}."}
        text = texts.get(error.status_code, str(error.detail))
        return answer(ApiError(error.status_code, text, headers=error.headers))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        # Starlette raises it again after this answer, so the server's log has the traceback.
        return answer(ApiError(500, f"Internal error: {type(error).__name__}.", kind="server_error"))


def answer(error: ApiError) -> JSONResponse:
    """The response that says `error`."""
    # The official client repeats a request that met a conflict, which would only meet it again.
    retry = {"x-should-retry": "false"} if error.status == 409 else {}
    return JSONResponse(error.body(), status_code=error.status, headers=retry | error.headers)


def _from_validation(error: RequestValidationError) -> ApiError:
    """The first problem as OpenAI words it; the message has the first ten."""
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return invalid("The body of the request is not valid JSON.", None)
    faults = faults_of(problems, error.body)
    told = list(dict.fromkeys(_wording(fault) for fault in faults))
    more = [f"And {len(told) - _MOST_PROBLEMS} more."] if len(told) > _MOST_PROBLEMS else []
    return invalid(" ".join([*told[:_MOST_PROBLEMS], *more]), _param(faults[0].place))


def _wording(fault: Fault) -> str:
    param = _param(fault.place)
    if fault.kind == "extra_forbidden":
        return f"Unrecognized request argument supplied: {param}."
    if fault.kind == "missing":
        return f"Missing required parameter: {param!r}." if param else "The request has no body."
    text = fault.text.removeprefix("Value error, ")
    return f"Invalid value for {param!r}: {text}." if param else f"Invalid request: {text}."


def _param(place: tuple[int | str, ...]) -> str | None:
    """("messages", 0, "role") -> "messages[0].role"."""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or None
