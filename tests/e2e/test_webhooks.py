"""Webhooks, delivered by a real worker to a real server."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import voicereel

from tests.e2e.human_speech import two_cities
from voicereel_site.local_stack import LocalStack

Received = list[tuple[dict[str, str], bytes]]


@pytest.fixture
def receiver() -> Iterator[tuple[str, Received]]:
    """A server's URL and what it received; it takes every second message."""
    received: Received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((dict(self.headers.items()), body))
            self.send_response(503 if len(received) % 2 else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hooks", received
    server.shutdown()
    server.server_close()


def until(received: Received, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(received) < count:
        assert time.monotonic() < deadline, f"{len(received)} of {count} messages came"
        time.sleep(0.1)


def test_a_customers_server_is_told(tone_stack: LocalStack, receiver: tuple[str, Received]) -> None:
    url, received = receiver
    client = voicereel.Client(tone_stack.manage("create_tenant", "Alder"), tone_stack.url)
    endpoint = client.create_webhook_endpoint(url, events=["job.succeeded", "speaker.ready"])
    assert endpoint.secret is not None
    speaker = client.register_speaker("Anna", two_cities(), consent=True)
    until(received, 2)  # refused at first, and tried again after five seconds
    client.wait_for_speaker(speaker.id)
    job = client.synthesize([voicereel.Line(speaker.id, "Hello there.")])
    until(received, 4)
    told = []
    for headers, body in received:
        message = voicereel.verify_webhook(headers, body, endpoint.secret)
        told.append((message["type"], message["data"]["id"]))
    assert told == [("speaker.ready", speaker.id)] * 2 + [("job.succeeded", job.id)] * 2
    deadline = time.monotonic() + 10
    while any(d.status != "delivered" for d in client.iter_webhook_deliveries(endpoint.id)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    deliveries = list(client.iter_webhook_deliveries(endpoint.id))
    assert [[a.status for a in d.attempts] for d in deliveries] == [[503, 200]] * 2
    client.replay_webhook_delivery(deliveries[0].id)
    until(received, 6)
    assert {headers["webhook-id"] for headers, _ in received[4:]} == {deliveries[0].id}
