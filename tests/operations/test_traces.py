"""A request, the job it asked for and the job's lines are one trace, for who collects it."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.operations.conftest import MakeSite, ready_speaker
from tests.operations.servers import wait_until

pytestmark = pytest.mark.services

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TEXT = "The heron sleeps at noon."


class Collector:
    """What is posted to ``/v1/traces``: (service, span)."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    about = {
                        one.key: one.value.string_value for one in resource.resource.attributes
                    }
                    for scope in resource.scope_spans:
                        outer.spans += [(about["service.name"], one) for one in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of_trace(self, trace: str) -> dict[str, list[Any]]:
        """The spans of a trace, by name."""
        found: dict[str, list[Any]] = {}
        for _service, span in list(self.spans):
            if span.trace_id.hex() == trace:
                found.setdefault(span.name, []).append(span)
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


def test_a_trace_goes_from_the_request_to_each_line(
    make_site: MakeSite, collector: Collector
) -> None:
    site = make_site("production", VOICEREEL_OTLP_ENDPOINT=collector.url)
    client = site.client()
    speaker = ready_speaker(client)
    script = [{"speaker_id": speaker.id, "text": TEXT} for _ in range(3)]
    headers = {
        "Authorization": f"Bearer {site.key}",
        "traceparent": f"00-{TRACE}-{CALLER}-01",
    }
    made = httpx.post(f"{site.stack.url}/v1/synthesize", json={"script": script}, headers=headers)
    job = client.wait_for_job(made.json()["id"], timeout_s=60)
    wait_until(
        lambda: {"job", "POST /v1/synthesize"} <= set(collector.of_trace(TRACE)), "the trace", 30
    )
    spans = collector.of_trace(TRACE)
    (request,) = spans["POST /v1/synthesize"]
    assert request.parent_span_id.hex() == CALLER
    (worked,) = spans["job"]
    assert worked.parent_span_id == request.span_id
    attributes = {one.key: one.value for one in worked.attributes}
    assert attributes["voicereel.job_id"].string_value == job.id
    (speech,), (mix,) = spans["speak"], spans["mix"]
    assert {speech.parent_span_id, mix.parent_span_id} == {worked.span_id}
    assert len(spans["line"]) == 3
    assert {line.parent_span_id for line in spans["line"]} == {speech.span_id}
    for line in spans["line"]:
        assert speech.start_time_unix_nano <= line.start_time_unix_nano + 1_000_000
        assert line.start_time_unix_nano < line.end_time_unix_nano
    services = {service for service, span in collector.spans if span.trace_id.hex() == TRACE}
    assert services == {"voicereel-web", "voicereel-worker"}
    # Nobody who collects reads what is said.
    sent = b"".join(collector.bodies)
    assert TEXT.encode() not in sent
    assert site.key.encode() not in sent
    assert b"Anna" not in sent


def test_who_sends_unsampled_ones_has_none_collected(
    make_site: MakeSite, collector: Collector
) -> None:
    site = make_site("embedded", VOICEREEL_OTLP_ENDPOINT=collector.url)
    headers = {"Authorization": f"Bearer {site.key}"}
    unsampled = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    assert httpx.get(f"{site.stack.url}/v1/jobs", headers=headers | unsampled).status_code == 200
    assert httpx.get(f"{site.stack.url}/v1/speakers", headers=headers).status_code == 200
    wait_until(
        lambda: "GET /v1/speakers" in {span.name for _service, span in list(collector.spans)},
        "the other request's span",
        30,
    )
    assert collector.of_trace(TRACE) == {}
