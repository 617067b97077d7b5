"""A request id for every request, and one log line, with the route but never the path's secrets."""

import re
import secrets
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase

log = structlog.get_logger("voicereel.request")

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


def current_request_id() -> str | None:
    """The id of the request being answered, or None outside one."""
    return structlog.contextvars.get_contextvars().get("request_id")


class RequestLogMiddleware:
    """Takes up ``X-Request-ID`` or makes one, answers with it, and logs the outcome."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _SAFE_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        route = getattr(request.resolver_match, "route", None)
        log.info(
            "request",
            method=request.method,
            route=route,
            status=response.status_code,
            duration_ms=round((time.perf_counter() - started) * 1000, 1),
        )
        structlog.contextvars.clear_contextvars()
        return response
