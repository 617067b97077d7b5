"""Customers' systems are told what happened: once it has, for a day if need be, and signed."""

import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from accounts.models import OutboxMessage, WebhookDelivery, WebhookEndpoint
from accounts.tasks import deliver_webhook, forget_deliveries, sweep_deliveries
from accounts.webhooks import addresses, deliveries, sending
from accounts.webhooks.addresses import ForbiddenTarget, is_public, resolve_target
from speakers.enrollment import fail_speaker
from speakers.models import Speaker
from tests.conftest import Api

ENDPOINTS = "/v1/webhook-endpoints"


@dataclass
class Receiver:
    """A customer's server: what it received, and how it answers next."""

    url: str
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(settings, "WEBHOOK_NETWORKS", ["127.0.0.0/8"])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.received.append((dict(self.headers.items()), body))
            answer = made.answers.pop(0) if made.answers else status(204)
            answer(self)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hooks?from=voicereel")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


def endpoint(api: Api, receiver: Receiver, **fields: Any) -> tuple[str, str]:
    """Its id and secret."""
    reply = api.post(ENDPOINTS, {"url": receiver.url} | fields)
    assert reply.status_code == 201, reply.json()
    return reply.json()["id"], reply.json()["secret"]


def run_due() -> None:
    """What a worker does with the messages that are due."""
    for delivery in WebhookDelivery.objects.filter(
        status="pending", next_attempt_at__lte=timezone.now()
    ):
        deliver_webhook(delivery.tenant_id, delivery.pk)


def let_pass(**time: float) -> None:
    """Move everything that is written down into the past."""
    by = timedelta(**time)
    for delivery in WebhookDelivery.objects.all():
        delivery.give_up_at -= by
        if delivery.next_attempt_at is not None:
            delivery.next_attempt_at -= by
        delivery.save()
    for row in WebhookEndpoint.objects.exclude(failing_since=None):
        row.failing_since -= by
        row.save()


def canceled(api: Api, submit: Callable[..., Any], **fields: Any) -> str:
    job_id: str = submit(api, "One.", **fields)["id"]
    assert api.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    return job_id


def test_the_end_of_a_job_is_told_and_verifies(
    alder: Api,
    birch: Api,
    submit: Callable[..., Any],
    render: Callable[[str], None],
    receiver: Receiver,
) -> None:
    endpoint_id, secret = endpoint(alder, receiver)
    job = submit(alder, "One.", title="Episode 12", metadata={"a": "b"})
    submit(birch, "Not for Alder.")
    assert not WebhookDelivery.objects.exists()
    render(job["id"])
    run_due()
    [(headers, body)] = receiver.received
    message = Webhook(secret).verify(body, headers)
    assert message == json.loads(body)
    assert (message["type"], message["data"]["id"]) == ("job.succeeded", job["id"])
    assert message["data"]["title"] == "Episode 12"
    assert message["data"]["metadata"] == {"a": "b"}
    assert message["data"]["audio_ms"] > 0
    assert b"http" not in body  # links would have expired on a later attempt
    assert b"One." not in body
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"succeeded", b"failed"), headers)
    [shown] = alder.get(f"{ENDPOINTS}/{endpoint_id}/deliveries").json()["data"]
    assert (shown["id"], shown["status"]) == (headers["webhook-id"], "delivered")
    assert shown["message"] == message
    [attempt] = shown["attempts"]
    assert (attempt["status"], attempt["error"]) == (204, None)
    run_due()
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (None, ["job.canceled", "speaker.failed"]),
        (["*"], ["job.canceled", "speaker.failed"]),
        (["speaker.failed"], ["speaker.failed"]),
        (["job.succeeded"], []),
    ],
)
def test_an_endpoint_is_told_what_it_asked_for(
    alder: Api,
    submit: Callable[..., Any],
    make_speaker: Callable[..., Speaker],
    receiver: Receiver,
    events: list[str] | None,
    told: list[str],
) -> None:
    endpoint(alder, receiver, **({} if events is None else {"events": events}))
    canceled(alder, submit)
    speaker = make_speaker(alder, status="processing")
    fail_speaker(speaker, [{"code": "too_little_speech", "detail": "Send more."}])
    fail_speaker(speaker, [])  # has failed already: nothing to tell
    run_due()
    assert sorted(json.loads(body)["type"] for _, body in receiver.received) == told


@pytest.mark.parametrize(
    ("answer", "shown", "error"),
    [
        (status(500), 500, "Answered 500."),
        (status(404), 404, "Answered 404."),
        (status(302, Location="http://169.254.169.254/"), 302, "Redirects are not followed"),
        (lambda handler: handler.connection.close(), None, "RemoteDisconnected"),
    ],
)
def test_what_is_not_taken_is_tried_again_under_the_same_id(
    alder: Api,
    submit: Callable[..., Any],
    receiver: Receiver,
    answer: Callable[[BaseHTTPRequestHandler], None],
    shown: int | None,
    error: str,
) -> None:
    endpoint_id, secret = endpoint(alder, receiver)
    receiver.answers = [answer]
    canceled(alder, submit)
    OutboxMessage.objects.all().delete()
    run_due()
    [delivery] = alder.get(f"{ENDPOINTS}/{endpoint_id}/deliveries").json()["data"]
    assert delivery["status"] == "pending"
    assert delivery["attempts"][0]["status"] == shown
    assert error in delivery["attempts"][0]["error"]
    assert alder.get(f"{ENDPOINTS}/{endpoint_id}").json()["failing_since"]
    [again] = OutboxMessage.objects.all()
    assert 4 < (again.due_at - timezone.now()).total_seconds() < 6
    run_due()  # not yet
    assert len(receiver.received) == 1
    let_pass(seconds=6)
    run_due()
    ids = [headers["webhook-id"] for headers, _ in receiver.received]
    assert ids == [delivery["id"]] * 2
    Webhook(secret).verify(receiver.received[1][1], receiver.received[1][0])
    assert WebhookDelivery.objects.get().status == "delivered"
    assert alder.get(f"{ENDPOINTS}/{endpoint_id}").json()["failing_since"] is None


def test_a_receiver_that_was_down_for_an_hour_gets_everything(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint(alder, receiver)
    jobs = [canceled(alder, submit) for _ in range(3)]
    receiver.answers = [status(503)] * 1_000
    for _ in range(60):
        run_due()
        let_pass(minutes=1)
    assert len(receiver.received) > 9
    receiver.answers.clear()
    receiver.received.clear()
    for _ in range(70):
        run_due()
        let_pass(minutes=1)
    told = [json.loads(body)["data"]["id"] for _, body in receiver.received]
    assert sorted(told) == sorted(jobs)


def test_after_a_day_a_message_is_given_up_and_can_be_replayed(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint(alder, receiver)
    canceled(alder, submit)
    receiver.answers = [status(500)] * 100
    for _ in range(60):
        run_due()
        let_pass(minutes=30)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.status, delivery.next_attempt_at) == ("failed", None)
    assert 15 < delivery.attempt_count < 40
    assert len(delivery.attempts) <= 30
    attempts = len(receiver.received)
    receiver.answers.clear()
    path = f"/v1/webhook-deliveries/{delivery.pk}/replay"
    for _ in range(2):  # the second is the same request
        reply = alder.post(path, **{"Idempotency-Key": "again"})
        assert (reply.status_code, reply.json()["status"]) == (202, "pending")
    run_due()
    assert len(receiver.received) == attempts + 1
    assert receiver.received[-1][0]["webhook-id"] == delivery.pk
    assert WebhookDelivery.objects.get().status == "delivered"


def test_an_endpoint_that_takes_nothing_for_days_is_switched_off(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(alder, receiver)
    receiver.answers = [status(500)] * 100
    canceled(alder, submit)
    run_due()
    let_pass(days=5, hours=1)
    canceled(alder, submit)
    run_due()
    shown = alder.get(f"{ENDPOINTS}/{endpoint_id}").json()
    assert shown["enabled"] is False
    assert "nothing for 5 days" in shown["disabled_reason"]
    count = WebhookDelivery.objects.count()
    canceled(alder, submit)
    assert WebhookDelivery.objects.count() == count
    waiting = WebhookDelivery.objects.order_by("pk").last()
    assert waiting is not None
    assert alder.post(f"/v1/webhook-deliveries/{waiting.pk}/replay").status_code == 409
    assert alder.patch(f"{ENDPOINTS}/{endpoint_id}", {"enabled": True}).json()["enabled"] is True
    receiver.answers.clear()
    canceled(alder, submit)
    run_due()
    assert WebhookDelivery.objects.filter(status="delivered").exists()


def test_an_endpoint_that_says_that_it_is_gone_is_switched_off_at_once(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(alder, receiver)
    receiver.answers = [status(410)]
    canceled(alder, submit)
    run_due()
    assert alder.get(f"{ENDPOINTS}/{endpoint_id}").json()["disabled_reason"] == (
        "It answered 410, gone."
    )
    let_pass(hours=2)
    run_due()  # what waited is not sent any more
    assert len(receiver.received) == 1
    assert WebhookDelivery.objects.get().status == "failed"


def test_both_secrets_sign_for_a_day_after_a_rotation(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint_id, old = endpoint(alder, receiver)
    new = alder.post(f"{ENDPOINTS}/{endpoint_id}/rotate").json()["secret"]
    assert new != old
    canceled(alder, submit)
    run_due()
    headers, body = receiver.received.pop()
    for secret in (old, new):
        Webhook(secret).verify(body, headers)
    WebhookEndpoint.objects.update(earlier_secret_until=timezone.now() - timedelta(seconds=1))
    canceled(alder, submit)
    run_due()
    headers, body = receiver.received.pop()
    Webhook(new).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body, headers)


def test_a_secret_is_shown_once_and_stored_encrypted(alder: Api, receiver: Receiver) -> None:
    key = {"Idempotency-Key": "once"}
    made = alder.post(ENDPOINTS, {"url": receiver.url}, **key).json()
    again = alder.post(ENDPOINTS, {"url": receiver.url}, **key)
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == made | {"secret": None}
    shown = alder.get(f"{ENDPOINTS}/{made['id']}").json()
    assert "secret" not in shown
    stored = bytes(WebhookEndpoint.objects.get().secret)
    assert made["secret"].removeprefix("whsec_").encode() not in stored


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A header that never ends, a byte at a time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    try:
        for _ in range(200):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


def endless(handler: BaseHTTPRequestHandler) -> None:
    """A body that never ends."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        for _ in range(200):
            handler.wfile.write(b"x" * 65_536)
            time.sleep(0.05)
    except OSError:
        return


def test_a_receiver_that_drips_is_hung_up_on(
    alder: Api,
    submit: Callable[..., Any],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "_TOTAL_S", 0.5)
    endpoint(alder, receiver)
    canceled(alder, submit)
    receiver.answers = [drip]
    started = time.monotonic()
    run_due()
    assert time.monotonic() - started < 3
    [attempt] = WebhookDelivery.objects.get().attempts
    assert "No answer within" in attempt["error"]
    # Whoever has answered has taken it: what else they send is not waited for.
    receiver.answers = [endless]
    let_pass(seconds=6)
    started = time.monotonic()
    run_due()
    assert time.monotonic() - started < 1
    assert WebhookDelivery.objects.get().status == "delivered"


# Where nobody's webhook may go, however it is written.
HOSTILE = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://127.1/",
    "https://2130706433/",
    "https://0177.0.0.1/",
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://192.88.99.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:db8::1]/",
    "https://[5f00::1]/",
    "http://93.184.216.34/",
    "https://93.184.216.34:22/",
    "https://93.184.216.34:6379/",
    "ftp://93.184.216.34/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "https://user:password@93.184.216.34/",
    "https://93.184.216.34\\@127.0.0.1/",
    "https://93.184.216.34/#fragment",
    "https://93.184.216.34:99999/",
    "https://[::1/",
    "https:///hooks",
    "https://exa mple.com/",
    "https://example.com/\r\nX-Injected: 1",
    "https://ⓛocalhost/",
    "https://no-such-name.invalid/",
    "//127.0.0.1/",
    "javascript:alert(1)",
    "https://" + "a" * 3_000 + ".com/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_a_webhook_goes_to_no_private_network(alder: Api, url: str) -> None:
    reply = alder.post(ENDPOINTS, {"url": url})
    assert (reply.status_code, reply.json()["code"]) == (422, "validation_error")
    assert [error["pointer"] for error in reply.json()["errors"]] == ["/url"]
    assert not WebhookEndpoint.objects.exists()
    with pytest.raises(ForbiddenTarget):
        resolve_target(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("::ffff:1.1.1.1", True),
        ("100.127.255.255", False),
        ("::ffff:100.64.0.1", False),
    ],
)
def test_public_addresses_are_told_from_others(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def test_a_name_that_changes_between_check_and_use_reaches_nothing(
    alder: Api,
    submit: Callable[..., Any],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "WEBHOOK_NETWORKS", [])
    port = int(receiver.url.split(":")[2].split("/")[0])
    resolve = socket.getaddrinfo
    asked: list[str] = []

    def rebinding(host: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        # Public at first, and then the machine itself.
        return resolve("93.184.216.34" if len(asked) == 1 else "127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    made = alder.post(ENDPOINTS, {"url": "https://rebinding.example:8443/"})
    assert made.status_code == 201, made.json()
    WebhookEndpoint.objects.update(url=f"https://rebinding.example:{port}/")
    canceled(alder, submit)
    run_due()
    assert asked == ["rebinding.example"] * 2
    assert receiver.received == []
    [attempt] = WebhookDelivery.objects.get().attempts
    assert "127.0.0.1, is not on the public internet" in attempt["error"]


def test_the_connection_is_made_to_the_address_that_was_checked(
    alder: Api,
    submit: Callable[..., Any],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Resolved once an attempt: there is no second answer that could differ."""
    endpoint(alder, receiver)
    WebhookEndpoint.objects.update(url=receiver.url.replace("127.0.0.1", "receiver.example"))
    resolve = socket.getaddrinfo
    asked = []

    def once(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "receiver.example":
            asked.append(host)
            return resolve("127.0.0.1", *args, **kwargs)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    canceled(alder, submit)
    run_due()
    [(headers, _)] = receiver.received
    assert headers["Host"].startswith("receiver.example:")
    assert asked == ["receiver.example"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = socket.getaddrinfo

    def both(host: str, *args: Any, **kwargs: Any) -> Any:
        return resolve("93.184.216.34", *args, **kwargs) + resolve("10.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(ForbiddenTarget, match=r"10\.0\.0\.1"):
        resolve_target("https://both.example/")


def test_what_was_lost_is_asked_for_again(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint(alder, receiver)
    canceled(alder, submit)
    OutboxMessage.objects.all().delete()
    sweep_deliveries()
    assert not OutboxMessage.objects.exists()  # its message may be on its way
    let_pass(minutes=2)
    sweep_deliveries()
    sweep_deliveries()
    [message] = OutboxMessage.objects.all()
    assert message.payload["task"] == "accounts.deliver_webhook"


def test_a_message_is_delivered_by_one_worker_at_a_time(
    alder: Api, submit: Callable[..., Any], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint(alder, receiver)
    canceled(alder, submit)
    delivery = WebhookDelivery.objects.get()
    send = sending.send

    def meanwhile(*args: Any) -> Any:
        deliver_webhook(delivery.tenant_id, delivery.pk)  # a second message for it
        return send(*args)

    monkeypatch.setattr(deliveries, "send", meanwhile)
    deliver_webhook(delivery.tenant_id, delivery.pk)
    assert len(receiver.received) == 1


def test_deliveries_are_forgotten_after_thirty_days(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint(alder, receiver)
    canceled(alder, submit)
    canceled(alder, submit)
    old = WebhookDelivery.objects.order_by("pk").first()
    assert old is not None
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=31))
    forget_deliveries()
    assert WebhookDelivery.objects.get().pk != old.pk


def test_an_account_has_so_many_endpoints(alder: Api, receiver: Receiver) -> None:
    for _ in range(20):
        endpoint(alder, receiver)
    refused = alder.post(ENDPOINTS, {"url": receiver.url})
    assert (refused.status_code, "20 endpoints" in refused.json()["detail"]) == (409, True)


def test_an_endpoint_is_changed_listed_and_deleted(
    alder: Api, submit: Callable[..., Any], receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(alder, receiver, description="CI")
    path = f"{ENDPOINTS}/{endpoint_id}"
    changed = alder.patch(path, {"events": ["job.failed"], "description": "CD"}).json()
    assert (changed["events"], changed["description"]) == (["job.failed"], "CD")
    assert alder.patch(path, {"url": "https://127.0.0.2:1/"}).status_code == 200  # as allowed here
    assert alder.patch(path, {"url": "https://10.0.0.1/"}).status_code == 422
    assert alder.patch(path, {"events": ["*"], "url": receiver.url}).status_code == 200
    off = alder.patch(path, {"enabled": False}).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "You switched it off.")
    canceled(alder, submit)
    assert not WebhookDelivery.objects.exists()
    alder.patch(path, {"enabled": True})
    canceled(alder, submit)
    assert [row["id"] for row in alder.get(ENDPOINTS).json()["data"]] == [endpoint_id]
    assert alder.delete(path).status_code == 204
    assert not WebhookDelivery.objects.exists()
    run_due()
    assert alder.get(path).status_code == 404


def test_a_name_server_that_does_not_answer_holds_no_request(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_RESOLVE_S", 0.1)
    answered = threading.Event()

    def silent(*args: Any, **kwargs: Any) -> Any:
        answered.wait(5)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    started = time.monotonic()
    reply = alder.post(ENDPOINTS, {"url": "https://silent.example/"})
    answered.set()
    assert reply.status_code == 422
    assert "no address that could be found" in reply.json()["detail"]
    assert time.monotonic() - started < 2


def test_the_verifier_in_the_guide_verifies() -> None:
    page = (settings.BASE_DIR / "templates/docs/webhooks.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    secret, body, now = "whsec_" + "YWJj" * 8, b'{"type": "job.failed"}', timezone.now()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1,YWJj " + Webhook(secret).sign("msg_1", now, body.decode()),
    }
    assert names["verified"](headers, body, secret) is True
    assert names["verified"](headers, body + b" ", secret) is False
    old = {"webhook-timestamp": str(int(now.timestamp()) - 400)}
    assert names["verified"](headers | old, body, secret) is False
