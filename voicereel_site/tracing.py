"""Where a request's time goes, for who collects it by OpenTelemetry: a request, the job it asked for, its lines.

Off unless VOICEREEL_OTLP_ENDPOINT is set; then nothing of it is even imported. Spans name routes, ids, counts and
lengths, and never a text, a name or a key.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.conf import settings

from voicereel_site.log_context import log_context, logged_with

_REQUEST_TIMEOUT_S = 5
_tracer: Any = None


def begin(service: str) -> None:
    """Collect this process's spans from now on, and send them in the background. service: web, worker."""
    global _tracer
    if not settings.OTLP_ENDPOINT:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(
        resource=Resource.create(
            {
                "service.name": f"voicereel-{service}",
                "deployment.environment.name": settings.ENVIRONMENT,
            }
        )
    )
    url = f"{settings.OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, timeout=_REQUEST_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("voicereel")


def span(name: str, kind: str = "INTERNAL", **attributes: Any) -> AbstractContextManager[Any]:
    """A span around a block, the child of what this thread's log lines say they belong to; within it they, and
    messages to workers, say that they belong to it. Yields it, or None where nobody collects.
    """
    return _NO_SPAN if _tracer is None else _span(name, kind, attributes)


_NO_SPAN = nullcontext()


@contextmanager
def _span(name: str, kind: str, attributes: Mapping[str, Any]) -> Iterator[Any]:
    from opentelemetry.trace import SpanKind

    made = _tracer.start_span(
        name, context=_parent(), kind=SpanKind[kind], attributes=_dotted(attributes)
    )
    own = made.get_span_context()
    ids = {
        "trace_id": f"{own.trace_id:032x}",
        "span_id": f"{own.span_id:016x}",
        "trace_flags": f"{int(own.trace_flags):02x}",
    }
    try:
        with logged_with(**ids):
            yield made
    except Exception as exc:
        from opentelemetry.trace import Status, StatusCode

        # Its kind alone: what an exception says may hold what somebody wrote.
        made.set_status(Status(StatusCode.ERROR, type(exc).__name__))
        raise
    finally:
        made.end()


def note(name: str, began: float, **attributes: Any) -> None:
    """A span that is over. began: by time.time()."""
    if _tracer is not None:
        made = _tracer.start_span(
            name,
            context=_parent(),
            start_time=round(began * 1e9),
            attributes=_dotted(attributes),
        )
        made.end(time.time_ns())


def _dotted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """OpenTelemetry's names have dots, which keywords cannot: ``http__route`` is ``http.route``."""
    return {name.replace("__", "."): value for name, value in attributes.items()}


def _parent() -> Any:
    """What the thread's log lines belong to, as a context; an empty one if that is nothing."""
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    ids = log_context()
    if "trace_id" not in ids or "span_id" not in ids:
        return Context()
    of_parent = SpanContext(
        int(ids["trace_id"], 16),
        int(ids["span_id"], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(ids.get("trace_flags", "01"), 16)),
    )
    return set_span_in_context(NonRecordingSpan(of_parent), Context())
