"""localstripe, written by others, as a second opinion on the Stripe of these tests: where it knows a call, both
answer alike, and its events are taken as Stripe's.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
import stripe

from billing.cards import note_event
from billing.models import StripeEvent
from tests.fakes.stripe_server import StripeServer
from tests.operations.servers import wait_until
from voicereel_site.local_stack import free_port

_SERVE = """
import sys
from aiohttp import web
from localstripe.server import app
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/customers", auth=("sk_test_x", "")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def peer() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _SERVE, str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), "localstripe", 30)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["ours", "localstripe"])
def api(request: pytest.FixtureRequest, peer: str) -> Iterator[stripe.StripeClient]:
    with StripeServer() as ours:
        url = ours.url if request.param == "ours" else peer
        addresses: Any = {"api": url}
        yield stripe.StripeClient("sk_test_x", base_addresses=addresses, max_network_retries=0)


def test_both_keep_customers_alike(api: stripe.StripeClient) -> None:
    made = api.v1.customers.create(
        {"name": "Alder", "email": "books@alder.example", "metadata": {"tenant": "ten_x"}}
    )
    assert made.id.startswith("cus_")
    assert (made.object, made.name, made.email) == ("customer", "Alder", "books@alder.example")
    found = api.v1.customers.retrieve(made.id)
    assert found.metadata is not None
    assert found.metadata["tenant"] == "ten_x"
    assert found.invoice_settings is not None
    assert found.invoice_settings.default_payment_method is None
    changed = api.v1.customers.update(made.id, {"name": "Alder Inc."})
    assert (changed.id, changed.name) == (made.id, "Alder Inc.")


def test_both_refuse_what_is_not_there(api: stripe.StripeClient) -> None:
    for call in (
        lambda: api.v1.customers.retrieve("cus_unknown"),
        lambda: api.v1.invoices.retrieve("in_unknown"),
        lambda: api.v1.setup_intents.retrieve("seti_unknown"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            call()
        assert refused.value.http_status == 404


def test_both_refuse_unknown_parameters(api: stripe.StripeClient) -> None:
    wrong: Any = {"emial": "books@alder.example"}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.v1.customers.create(wrong)
    assert refused.value.http_status == 400


def test_the_peers_events_are_taken_as_stripes(db: None, peer: str, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRET = "whsec_of_the_peer"
    came: list[tuple[bytes, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((body, self.headers["Stripe-Signature"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    httpx.post(
        f"{peer}/_config/webhooks/ours", json={"url": url, "secret": settings.STRIPE_WEBHOOK_SECRET}
    ).raise_for_status()
    addresses: Any = {"api": peer}
    client = stripe.StripeClient("sk_test_x", base_addresses=addresses)
    customer = client.v1.customers.create({"name": "Alder"})
    wait_until(lambda: bool(came), "the event", 10)
    server.shutdown()
    body, signature = came[0]
    assert note_event(body, signature)
    assert not note_event(body.replace(b"Alder", b"Birch"), signature)
    assert StripeEvent.objects.get().subject == customer.id
