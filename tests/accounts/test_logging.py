"""What the logs hold, and what they never hold."""

import json
import logging
import logging.config
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from synthesis.models import Job
from tests.conftest import Api


def test_an_exceptions_variables_are_not_logged() -> None:
    formatter = logging.config.DictConfigurator(settings.LOGGING).configure_formatter(
        dict(settings.LOGGING["formatters"]["json"])
    )
    password = "a secret " + "in a variable"
    try:
        raise ValueError(f"of {len(password)} letters")
    except ValueError as exc:
        record = logging.LogRecord(
            "voicereel", logging.ERROR, __file__, 1, "failed", None, (type(exc), exc, None)
        )
        record.exc_info = (type(exc), exc, exc.__traceback__)
    said = formatter.format(record)
    body = json.loads(said)
    assert body["exception"][0]["exc_value"] == "of 22 letters"
    assert body["exception"][0]["frames"]
    assert "in a variable" not in said


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("traceparent", "carried"),
    [
        (f"00-{TRACE}-{SPAN}-01", {"trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}),
        (f"cc-{TRACE}-{SPAN}-00-what", {"trace_id": TRACE, "span_id": SPAN, "trace_flags": "00"}),
        (f"00-{TRACE}-00f067aa0ba902b7-01-what", {}),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", {}),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", {}),
        (f"00-{TRACE}-{'0' * 16}-01", {}),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", {}),
        ("", {}),
    ],
)
def test_what_a_request_asks_of_a_worker_carries_its_id_and_trace(
    alder: Api,
    make_speaker: Callable[..., Any],
    traceparent: str,
    carried: dict[str, str],
) -> None:
    reply = alder.post(
        "/v1/synthesize",
        {"script": [{"speaker_id": make_speaker(alder).pk, "text": "Hello."}]},
        **{"X-Request-ID": "req-of-alder-1", "traceparent": traceparent},
    )
    assert reply["X-Request-ID"] == "req-of-alder-1"
    assert Job.objects.get().origin == {"request_id": "req-of-alder-1"} | carried
