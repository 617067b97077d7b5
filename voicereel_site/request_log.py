"""A request id for every request, and one log line, with the route but never the path's secrets.

What a request asks of a worker carries its id, and its place in the caller's trace, along.
"""

import random
import re
import time
from collections.abc import Callable, Mapping

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from voicereel_site import tracing
from voicereel_site.headers import set_header
from voicereel_site.log_context import begin_log_context, log_context

log = structlog.get_logger("voicereel.request")

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
# W3C Trace Context, 3.2: version, trace-id, parent-id, flags. Version ff is invalid, later versions may
# add fields behind these, and ids of zeros alone stand for none.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<parent>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_WITHOUT_CONTENT = {204, 304}  # RFC 9110, 8.6: not even a length of 0
_CARRIED = ("request_id", "trace_id", "span_id", "trace_flags")


def current_request_id() -> str | None:
    """The id of the request being answered, or None outside one."""
    return log_context().get("request_id")


def carried() -> dict[str, str]:
    """What a message to a worker takes along of the request, or the task, that sends it."""
    context = log_context()
    return {name: context[name] for name in _CARRIED if name in context}


def take_up(origin: Mapping[str, str]) -> None:
    """Log from here on, in this thread or task, with what a message brought along."""
    begin_log_context({name: origin[name] for name in _CARRIED if name in origin})


def _trace(header: str) -> dict[str, str]:
    """The caller's trace in a ``traceparent``; nothing where there is none or it is malformed."""
    if not header:
        return {}
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None or (match["version"] == "00" and match["more"]):
        return {}
    return {
        "trace_id": match["trace"],
        "span_id": match["parent"],
        "trace_flags": match["flags"],
    }


def _new_id() -> str:
    """Of 96 bits, which need not be secret: asking the kernel for them lets another thread go first."""
    return f"req_{random.getrandbits(96):024x}"  # nosec B311


class RequestLogMiddleware:
    """Takes up ``X-Request-ID`` or makes one, and ``traceparent``; answers with the id, and logs the
    outcome.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Not ``headers``, which Django makes of all there are.
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if given and _SAFE_ID.fullmatch(given) else _new_id()
        trace = _trace(request.META.get("HTTP_TRACEPARENT", ""))
        begin_log_context({"request_id": request_id, **trace})
        started = time.perf_counter()
        with tracing.span(request.method or "", "SERVER") as span:
            response = self.get_response(request)
            set_header(response, "X-Request-ID", request_id)
            if (
                isinstance(response, HttpResponse)
                and response.status_code not in _WITHOUT_CONTENT
                and not response.has_header("Content-Length")
            ):
                # Or the server sends it in chunks, which takes a write more.
                set_header(response, "Content-Length", str(len(response.content)))
            route = getattr(request.resolver_match, "route", None)
            if span is not None:
                span.update_name(f"{request.method} /{route or ''}")
                span.set_attribute("http.route", f"/{route or ''}")
                span.set_attribute("http.response.status_code", response.status_code)
            log.info(
                "request",
                method=request.method,
                route=route,
                status=response.status_code,
                duration_ms=round((time.perf_counter() - started) * 1000, 1),
            )
        begin_log_context({})
        return response
