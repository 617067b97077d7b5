"""Refusal, and the one JSON shape that all errors share (RFC 9457 problem documents)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.forms import BaseForm
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    UnreadablePostError,
)
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.response import Response

from voicereel_site.metrics import OUTAGES
from voicereel_site.outages import RETRY_AFTER_S, outage_of
from voicereel_site.request_log import current_request_id
from voicereel_site.stored_text import translated

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a request: where (JSON pointer), on which line, and what to do."""

    pointer: str
    detail: str
    line_id: str | None = None
    code: str | None = None

    def as_json(self) -> dict[str, str]:
        parts = {
            "pointer": self.pointer,
            "line_id": self.line_id,
            "code": self.code,
            "detail": self.detail,
        }
        return {name: _encodable(value) for name, value in parts.items() if value is not None}


@dataclass
class Refusal(Exception):
    """A request we understand and will not do. Raised by domain functions, answered as a problem.

    code: one of the product's stable codes; detail: a sentence that says what to do next.
    """

    code: str
    detail: str
    status: int = 422
    errors: Sequence[FieldError] = field(default_factory=tuple)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def not_found(what: str) -> Refusal:
    """The 404 for an id that does not exist here, or exists for another tenant: they look alike.

    what: one of THINGS.
    """
    detail = _("There is no such %(what)s.") % {"what": _(what)}
    return Refusal("not_found", detail, status=404)


# What there may be none of.
THINGS = (
    gettext_noop("clip"),
    gettext_noop("comparison"),
    gettext_noop("delivery"),
    gettext_noop("draft"),
    gettext_noop("endpoint"),
    gettext_noop("erasure"),
    gettext_noop("export"),
    gettext_noop("file"),
    gettext_noop("invitation"),
    gettext_noop("invoice"),
    gettext_noop("job"),
    gettext_noop("key"),
    gettext_noop("member"),
    gettext_noop("recording"),
    gettext_noop("report"),
    gettext_noop("speaker"),
)


def problem(
    status: int, code: str, detail: str, errors: Sequence[FieldError] = ()
) -> dict[str, Any]:
    """The body of a problem document."""
    body: dict[str, Any] = {
        "type": f"urn:voicereel:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": _encodable(detail),
        "request_id": current_request_id(),
    }
    if errors:
        body["errors"] = [error.as_json() for error in errors]
    return body


def summed_up(errors: Sequence[FieldError]) -> str:
    """The first thing wrong, and how many more there are."""
    if len(errors) == 1:
        return errors[0].detail
    more = {"first": errors[0].detail, "count": len(errors) - 1}
    return _("%(first)s %(count)s more below.") % more


def _encodable(text: str) -> str:
    """What a customer sent may be quoted to them, and half a surrogate pair has no UTF-8."""
    return str(text).encode("utf-8", "replace").decode()  # which may be translated only now


def _escape(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _flatten(detail: Any, pointer: str, body: Any) -> list[FieldError]:
    """DRF's nested error detail as a flat list with JSON pointers, and line ids for script lines."""
    if isinstance(detail, Mapping):
        flat: list[FieldError] = []
        for name, inner in detail.items():
            at = pointer if name == "non_field_errors" else f"{pointer}/{_escape(name)}"
            flat += _flatten(inner, at, body)
        return flat
    if isinstance(detail, list):
        flat = []
        for index, inner in enumerate(detail):
            if isinstance(inner, (Mapping, list)):
                flat += _flatten(inner, f"{pointer}/{index}", body)
            else:
                flat.append(FieldError(pointer, str(inner), line_id_at(pointer, body)))
        return flat
    return [FieldError(pointer, str(detail), line_id_at(pointer, body))]


def line_id_at(pointer: str, body: Any) -> str | None:
    """The id of the script line that a pointer such as /script/3/text lies in: its own or its number."""
    parts = pointer.split("/")
    if len(parts) < 3 or parts[1] != "script" or not parts[2].isdigit():
        return None
    index = int(parts[2])
    script = body.get("script") if isinstance(body, Mapping) else None
    if isinstance(script, list) and index < len(script) and isinstance(script[index], Mapping):
        given = script[index].get("id")
        if isinstance(given, str) and given:
            return given[:64]
    return str(index + 1)


def refusal_of(exc: exceptions.ValidationError | Refusal) -> Refusal:
    """What is wrong, as a page says it: of what DRF found, the first sentence, and where the others are."""
    if isinstance(exc, Refusal):
        return exc
    errors = _flatten(exc.detail, "", None)
    return Refusal("validation_error", errors[0].detail, errors=errors)


def show_on_form(form: BaseForm, errors: Sequence[FieldError]) -> None:
    """Show what is wrong beside the fields of a form, and what is of none of them above."""
    for error in errors:
        name = error.pointer.removeprefix("/").partition("/")[0]
        form.add_error(name if name in form.fields else None, error.detail)


def _validation_problem(exc: exceptions.ValidationError, body: Any) -> tuple[int, dict[str, Any]]:
    errors = _flatten(exc.detail, "", body)
    first = errors[0]
    detail = first.detail.rstrip(".")
    if first.pointer:
        detail = f"{detail} ({first.pointer})"
    if more := len(errors) - 1:
        detail = _("%(first)s and %(count)s more.") % {"first": detail, "count": more}
    else:
        detail = f"{detail}."
    return 422, problem(422, "validation_error", detail, errors[:1000])


def problem_from_exception(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler: every error a view can raise, as a problem document."""
    headers: dict[str, str] = {}
    match exc:
        case Refusal():
            status, body = exc.status, problem(exc.status, exc.code, exc.detail, exc.errors)
            headers.update(exc.headers)
        case exceptions.ValidationError():
            request = context.get("request")
            try:
                sent = request.data if request is not None else None
            except exceptions.APIException:
                sent = None
            status, body = _validation_problem(exc, sent)
        case exceptions.ParseError():
            detail = _("The body could not be parsed: %(error)s") % {
                "error": translated(str(exc.detail))
            }
            status, body = 400, problem(400, "validation_error", detail)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            status, body = 401, problem(401, "invalid_api_key", str(exc.detail))
            headers["WWW-Authenticate"] = 'Bearer realm="voicereel"'
        case exceptions.PermissionDenied() | PermissionDenied():
            detail = _("This key may not do that.")
            status, body = 403, problem(403, "insufficient_scope", detail)
        case exceptions.NotFound() | Http404():
            detail = _("There is nothing at this address.")
            status, body = 404, problem(404, "not_found", detail)
        case exceptions.MethodNotAllowed():
            status, body = 405, problem(405, "method_not_allowed", str(exc.detail))
        case exceptions.UnsupportedMediaType():
            detail = _("%(error)s Send the content type that the API reference names.")
            detail %= {"error": exc.detail}
            status, body = 415, problem(415, "validation_error", detail)
        case RequestDataTooBig() | TooManyFilesSent() | TooManyFieldsSent():
            detail = _("The request is larger, or has more parts, than this route takes.")
            status, body = 413, problem(413, "payload_too_large", detail)
        case SuspiciousOperation() | UnreadablePostError() | MultiPartParserError():
            status, body = 400, problem(400, "validation_error", _UNREADABLE)
        case _ if (what := outage_of(exc)) is not None:
            status, body = 503, _unavailable(what, exc)
            headers["Retry-After"] = str(RETRY_AFTER_S)
        case _:
            log.exception("request.failed", exc_info=exc)
            status, body = 500, _internal()
    response = Response(body, status=status, headers=headers)
    response.content_type = CONTENT_TYPE
    return response


_UNREADABLE = gettext_lazy("The request could not be read.")


def _unavailable(what: str, exc: Exception) -> dict[str, Any]:
    log.error("outage", what=what, error=type(exc).__name__)
    OUTAGES.labels(what).inc()
    detail = _(
        "A part of the service (%(what)s) does not answer at the moment. Try again in "
        "%(seconds)s s; with an Idempotency-Key nothing is done twice."
    ) % {"what": _(what), "seconds": RETRY_AFTER_S}
    return problem(503, "service_unavailable", detail)


# What may be down (voicereel_site.outages).
PARTS = (
    gettext_noop("broker"),
    gettext_noop("database"),
    gettext_noop("disk"),
    gettext_noop("storage"),
)


def unavailable_response(down: Sequence[str], checks: Mapping[str, str]) -> JsonResponse:
    """The 503 of a readiness check: a problem that names what is down, with every check's result."""
    detail = _("Not ready: %(parts)s.") % {"parts": ", ".join(_(what) for what in down)}
    body = problem(503, "service_unavailable", detail) | {"checks": dict(checks)}
    response = _plain(body)
    response["Retry-After"] = str(RETRY_AFTER_S)
    return response


class OutageMiddleware:
    """Answers 503 for views that are not DRF's, whose exceptions pass by its handler."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> JsonResponse | None:
        what = outage_of(exception)
        if what is None:
            return None
        response = _plain(_unavailable(what, exception))
        response["Retry-After"] = str(RETRY_AFTER_S)
        return response


def _internal() -> dict[str, Any]:
    detail = _("Something went wrong on our side. Try again; if it stays, tell us the request_id.")
    return problem(500, "internal_error", detail)


def _plain(body: dict[str, Any]) -> JsonResponse:
    return JsonResponse(body, status=body["status"], content_type=CONTENT_TYPE)


def problem_response(status: int, code: str, detail: str) -> JsonResponse:
    """A problem as the answer of a view that is not one of DRF's."""
    return _plain(problem(status, code, detail))


def refusal_response(exc: Refusal | exceptions.ValidationError, sent: Any = None) -> JsonResponse:
    """A refusal, or what is wrong with a body that was sent, from a view that is not one of DRF's."""
    if isinstance(exc, exceptions.ValidationError):
        _, body = _validation_problem(exc, sent)
    else:
        body = problem(exc.status, exc.code, exc.detail, exc.errors)
    return _plain(body)


def method_not_allowed(request: HttpRequest, allowed: Sequence[str]) -> JsonResponse:
    """The 405 of a view that is not one of DRF's."""
    detail = _("Method %(method)s is not allowed here; use %(allowed)s.") % {
        "method": request.method,
        "allowed": _(" or ").join(allowed),
    }
    response = problem_response(405, "method_not_allowed", detail)
    response["Allow"] = ", ".join(allowed)
    return response


def handler403(request: HttpRequest, exception: Exception) -> JsonResponse:
    return problem_response(403, "insufficient_scope", _("This is not allowed."))


def _wants_page(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/v1/")


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _wants_page(request):
        refusal = Refusal("validation_error", str(_UNREADABLE), 400)
        return render(request, "pages/refused.html", {"refusal": refusal}, status=400)
    return problem_response(400, "validation_error", _UNREADABLE)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _wants_page(request):
        return render(request, "pages/missing.html", status=404)
    detail = _("There is nothing at this address. The API begins at /v1/.")
    return problem_response(404, "not_found", detail)


def handler500(request: HttpRequest) -> HttpResponseBase:
    # Called while the exception is handled; Django's own line about it is switched off, as it has the path.
    log.exception("request.failed")
    body = _internal()
    if _wants_page(request):
        # Without the frame: what failed may be what the frame needs.
        page = render_to_string("pages/broken.html", {"request_id": body["request_id"]})
        return HttpResponse(page, status=500)
    return _plain(body)


_NEGOTIATION = DefaultContentNegotiation()


class AlwaysJson(BaseContentNegotiation):
    """Answers are JSON whatever ``Accept`` says: a 406 would only hide the real answer."""

    def select_parser(self, request: Any, parsers: Sequence[Any]) -> Any:
        return _NEGOTIATION.select_parser(request, parsers)

    def select_renderer(
        self, request: Any, renderers: Sequence[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type
