"""Webhooks in the client and on the command line."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from voicereel import Client, InvalidWebhook, verify_webhook
from voicereel.cli import main

from .scripted_server import ScriptedServer, document

ENDPOINTS = "/v1/webhook-endpoints"
ENDPOINT = {
    "id": "whe_1",
    "url": "https://example.com/hooks",
    "description": "",
    "events": ["*"],
    "enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "created_at": "2026-01-02T03:04:05Z",
}
SECRET = "whsec_" + "YWJjZA" * 6 + "Yg=="
NEW = ENDPOINT | {"secret": SECRET}
DELIVERY = {
    "id": "msg_1",
    "endpoint_id": "whe_1",
    "event": "job.failed",
    "status": "pending",
    "created_at": "2026-01-02T03:04:05Z",
    "delivered_at": None,
    "next_attempt_at": "2026-01-02T03:04:10Z",
    "attempts": [
        {"at": "2026-01-02T03:04:05Z", "status": 500, "error": "Answered 500.", "duration_ms": 3}
    ],
    "message": {"type": "job.failed", "timestamp": "2026-01-02T03:04:05Z", "data": {"id": "job_1"}},
}


def sent(server: ScriptedServer) -> Any:
    return json.loads(server.received[-1].body)


def test_an_endpoint_is_made_changed_and_deleted(client: Client, server: ScriptedServer) -> None:
    server.script("POST", ENDPOINTS, document(NEW, 201))
    made = client.create_webhook_endpoint("https://example.com/hooks", events=["job.failed"])
    assert (made.id, made.secret, made.events) == ("whe_1", SECRET, ("*",))
    assert SECRET not in repr(made)
    assert sent(server) == {
        "url": "https://example.com/hooks",
        "description": "",
        "events": ["job.failed"],
    }
    server.script("GET", ENDPOINTS, document({"data": [ENDPOINT], "next_cursor": None}))
    assert [row.secret for row in client.iter_webhook_endpoints()] == [None]
    off = ENDPOINT | {"enabled": False, "disabled_reason": "You switched it off."}
    server.script("PATCH", f"{ENDPOINTS}/whe_1", document(off))
    assert client.update_webhook_endpoint("whe_1", enabled=False).enabled is False
    assert sent(server) == {"enabled": False}
    server.script("POST", f"{ENDPOINTS}/whe_1/rotate", document(NEW))
    assert client.rotate_webhook_secret("whe_1").secret == SECRET
    server.script("GET", f"{ENDPOINTS}/whe_1", document(ENDPOINT))
    assert client.get_webhook_endpoint("whe_1").enabled
    server.script("DELETE", f"{ENDPOINTS}/whe_1", document(None, 204))
    client.delete_webhook_endpoint("whe_1")


def test_deliveries_are_listed_and_replayed(client: Client, server: ScriptedServer) -> None:
    page = document({"data": [DELIVERY], "next_cursor": None})
    server.script("GET", f"{ENDPOINTS}/whe_1/deliveries", page)
    [delivery] = client.iter_webhook_deliveries("whe_1")
    assert (delivery.event, delivery.attempts[0].status) == ("job.failed", 500)
    assert delivery.next_attempt_at == datetime(2026, 1, 2, 3, 4, 10, tzinfo=UTC)
    assert delivery.message["data"]["id"] == "job_1"
    server.script("POST", "/v1/webhook-deliveries/msg_1/replay", document(DELIVERY, 202))
    assert client.replay_webhook_delivery("msg_1").status == "pending"


def test_a_message_that_a_library_signed_is_verified() -> None:
    body = json.dumps(DELIVERY["message"]).encode()
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg_1", now, body.decode())
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": f"v1,c29tZXRoaW5n {signature}",
    }
    assert verify_webhook(headers, body, SECRET)["type"] == "job.failed"
    with pytest.raises(InvalidWebhook, match="does not match"):
        verify_webhook(headers, body + b" ", SECRET)
    with pytest.raises(InvalidWebhook, match="does not match"):
        verify_webhook(headers | {"Webhook-Id": "msg_2"}, body, SECRET)
    with pytest.raises(InvalidWebhook, match="does not match"):
        verify_webhook(headers, body, "whsec_b3RoZXI=")
    for name in headers:
        with pytest.raises(InvalidWebhook, match="no signature"):
            verify_webhook({k: v for k, v in headers.items() if k != name}, body, SECRET)
    old = datetime.fromtimestamp(time.time() - 301, UTC)
    signature = Webhook(SECRET).sign("msg_1", old, body.decode())
    late = {"Webhook-Timestamp": str(int(old.timestamp())), "Webhook-Signature": signature}
    with pytest.raises(InvalidWebhook, match="five minutes"):
        verify_webhook(headers | late, body, SECRET)


def test_the_command_line(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.script("POST", ENDPOINTS, document(NEW, 201))
    url = "https://example.com/hooks"
    assert main(["webhooks", "create", url, "--event", "job.failed"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == SECRET
    assert "whe_1 is told of" in err
    failing = ENDPOINT | {"failing_since": "2026-01-02T03:04:05Z"}
    off = ENDPOINT | {"enabled": False, "disabled_reason": "It answered 410, gone."}
    server.script(
        "GET", ENDPOINTS, document({"data": [ENDPOINT, failing, off], "next_cursor": None})
    )
    assert main(["webhooks", "list"]) == 0
    rows = capsys.readouterr().out
    for words in ("on\n", "failing since 2026-01-02 03:04 UTC", "off: It answered 410, gone."):
        assert words in rows
    page = document({"data": [DELIVERY], "next_cursor": None})
    server.script("GET", f"{ENDPOINTS}/whe_1/deliveries", page)
    assert main(["webhooks", "deliveries", "whe_1"]) == 0
    assert "Answered 500." in capsys.readouterr().out
    server.script("POST", "/v1/webhook-deliveries/msg_1/replay", document(DELIVERY, 202))
    assert main(["webhooks", "replay", "msg_1"]) == 0
    assert "msg_1 is being sent again" in capsys.readouterr().out
    server.script("POST", f"{ENDPOINTS}/whe_1/rotate", document(NEW | {"secret": None}))
    assert main(["webhooks", "rotate", "whe_1"]) != 0
    assert "voicereel webhooks rotate whe_1" in capsys.readouterr().err
    server.script("PATCH", f"{ENDPOINTS}/whe_1", document(ENDPOINT))
    assert main(["webhooks", "enable", "whe_1"]) == 0
    server.script("DELETE", f"{ENDPOINTS}/whe_1", document(None, 204))
    assert main(["webhooks", "delete", "whe_1"]) == 2
    assert main(["webhooks", "delete", "whe_1", "--yes"]) == 0
