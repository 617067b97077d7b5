"""API keys in the client and on the command line."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from voicereel import Client, InvalidArgument
from voicereel.cli import main

from .scripted_server import ScriptedServer, document

SECRET = "vr_live_AbCdEfGh_" + "x" * 49
KEY = {
    "id": "key_1",
    "label": "CI",
    "prefix": "vr_live_AbCdEfGh",
    "mode": "live",
    "scopes": ["jobs:read", "jobs:write"],
    "networks": ["203.0.113.0/24"],
    "require_signature": False,
    "created_at": "2026-01-02T03:04:05Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2026-01-02T03:05:00Z",
    "replaced_by": None,
}
NEW = KEY | {"key": SECRET, "last_used_at": None}


def sent(server: ScriptedServer) -> Any:
    return json.loads(server.received[-1].body)


def test_a_key_is_created_and_not_shown_by_accident(client: Client, server: ScriptedServer) -> None:
    server.script("POST", "/v1/keys", document(NEW, 201))
    end = datetime(2027, 1, 31, tzinfo=UTC)
    made = client.create_key(
        "CI", scopes=["jobs:read", "jobs:write"], expires_at=end, networks=["203.0.113.0/24"]
    )
    assert made.networks == ("203.0.113.0/24",)
    assert made.key == SECRET
    assert SECRET not in repr(made)
    assert made.works
    assert sent(server) == {
        "label": "CI",
        "mode": "live",
        "scopes": ["jobs:read", "jobs:write"],
        "expires_at": "2027-01-31T00:00:00+00:00",
        "networks": ["203.0.113.0/24"],
    }
    with pytest.raises(InvalidArgument, match="time zone"):
        client.create_key("CI", expires_at=datetime(2027, 1, 31))


def test_keys_are_listed_rotated_and_revoked(client: Client, server: ScriptedServer) -> None:
    server.script("GET", "/v1/keys", document({"data": [KEY], "next_cursor": None}))
    [key] = client.iter_keys()
    assert (key.id, key.key, key.scopes) == ("key_1", None, ("jobs:read", "jobs:write"))
    server.script("POST", "/v1/keys/key_1/rotate", document(NEW | {"id": "key_2"}, 201))
    assert client.rotate_key("key_1", overlap_hours=3).id == "key_2"
    assert sent(server) == {"overlap_hours": 3}
    revoked = KEY | {"revoked_at": "2026-01-01T00:00:00Z"}
    server.script("POST", "/v1/keys/key_1/revoke", document(revoked))
    assert client.revoke_key("key_1").works is False


def test_a_key_that_ended_does_not_work(client: Client, server: ScriptedServer) -> None:
    ended = KEY | {"expires_at": "2020-01-01T00:00:00Z"}
    revoked = KEY | {"revoked_at": "2026-01-01T00:00:00Z"}
    for document_of, works in ((ended, False), (revoked, False), (KEY, True)):
        server.script("GET", "/v1/keys/key_1", document(document_of))
        assert client.get_key("key_1").works is works


def test_the_command_prints_the_key_alone(server: ScriptedServer, capsys: Any) -> None:
    server.script("POST", "/v1/keys", document(NEW, 201))
    arguments = ["--scope", "jobs:read", "--test", "--expires", "2027-01-31"]
    assert main(["keys", "create", "CI", *arguments]) == 0
    shown = capsys.readouterr()
    assert shown.out == SECRET + "\n"
    assert SECRET not in shown.err
    assert sent(server) == {
        "label": "CI",
        "mode": "test",
        "scopes": ["jobs:read"],
        "expires_at": "2027-01-31T00:00:00+00:00",
    }


def test_a_key_whose_answer_was_lost_is_named_for_revoking(
    server: ScriptedServer, capsys: Any
) -> None:
    server.script("POST", "/v1/keys/key_1/rotate", document(NEW | {"key": None}, 201))
    assert main(["keys", "rotate", "key_1"]) == 1
    assert "voicereel keys revoke key_1" in capsys.readouterr().err


def test_keys_are_shown_without_secrets(server: ScriptedServer, capsys: Any) -> None:
    revoked = KEY | {"revoked_at": "2026-01-01T00:00:00Z", "id": "key_2"}
    server.script("GET", "/v1/keys", document({"data": [KEY, revoked], "next_cursor": None}))
    assert main(["keys", "list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "works" in rows[1]
    assert "2026-01-02 03:05 UTC" in rows[1]
    assert "is revoked" in rows[2]
    server.script("GET", "/v1/keys/key_1", document(KEY | {"replaced_by": "key_9"}))
    assert main(["keys", "show", "key_1"]) == 0
    out = capsys.readouterr().out
    assert "jobs:read, jobs:write" in out
    assert "replaced by: key_9" in out


def test_revoking_asks_first(server: ScriptedServer, capsys: Any) -> None:
    revoked = KEY | {"revoked_at": "2026-01-01T00:00:00Z"}
    server.script("POST", "/v1/keys/key_1/revoke", document(revoked))
    assert main(["keys", "revoke", "key_1"]) == 2
    assert not server.received
    assert main(["keys", "revoke", "key_1", "--yes"]) == 0
    assert "key_1 is revoked" in capsys.readouterr().out
