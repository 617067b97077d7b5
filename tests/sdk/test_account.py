"""People, the audit log, exports and erasures, in the client and on the command line."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from voicereel import Client, FileUnavailable
from voicereel.cli import main

from .scripted_server import Reply, ScriptedServer, document

MEMBER = {
    "id": "mem_1",
    "name": "",
    "email": "mina@example.com",
    "role": "developer",
    "second_factor": True,
    "joined_at": "2026-01-02T03:04:05Z",
    "last_login_at": None,
}
INVITATION = {
    "id": "ivt_1",
    "email": "jun@example.com",
    "role": "viewer",
    "invited_by": "mina@example.com",
    "created_at": "2026-01-02T03:04:05Z",
    "expires_at": "2026-01-09T03:04:05Z",
}
EVENT = {
    "id": "aud_1",
    "at": "2026-01-02T03:04:05Z",
    "action": "content.opened",
    "actor": {
        "kind": "operator",
        "id": "usr_1",
        "name": "olga@voicereel.example",
        "in_place_of": "mina@example.com",
        "address": "203.0.113.7",
    },
    "target": "/v1/jobs",
    "details": {"method": "GET"},
    "request_id": "req_1",
}
ARCHIVE = b"PK\x05\x06" + bytes(18)
EXPORT: dict[str, Any] = {
    "id": "exp_1",
    "status": "processing",
    "files_done": 1,
    "files_total": 2,
    "rows_done": 0,
    "error": None,
    "archive": None,
    "created_at": "2026-01-02T03:04:05Z",
    "finished_at": None,
    "expires_at": None,
}
ERASURE: dict[str, Any] = {
    "id": "era_1",
    "account_id": "ten_1",
    "speaker_id": "spk_1",
    "status": "requested",
    "requested_by": "key_1",
    "requested_at": "2026-01-02T03:04:05Z",
    "finished_at": None,
    "rows": {},
    "files": 0,
    "bytes": 0,
    "log_lines": 0,
    "proof_url": "https://example.com/v1/erasure-proofs/x",
}


def sent(server: ScriptedServer) -> Any:
    return json.loads(server.received[-1].body)


def page(*rows: dict[str, Any]) -> Reply:
    return document({"data": list(rows), "next_cursor": None})


def test_members_are_listed_changed_and_removed(client: Client, server: ScriptedServer) -> None:
    server.script("GET", "/v1/members", page(MEMBER))
    [member] = client.iter_members()
    assert (member.email, member.role, member.second_factor) == (
        "mina@example.com",
        "developer",
        True,
    )
    server.script("PATCH", "/v1/members/mem_1", document(MEMBER | {"role": "admin"}))
    assert client.change_member("mem_1", "admin").role == "admin"
    assert sent(server) == {"role": "admin"}
    server.script("DELETE", "/v1/members/mem_1", document(None, 204))
    client.remove_member("mem_1")
    server.script("POST", "/v1/invitations", document(INVITATION, 201))
    assert client.invite("jun@example.com", "viewer").invited_by == "mina@example.com"
    server.script("GET", "/v1/invitations", page(INVITATION))
    assert [row.email for row in client.iter_invitations()] == ["jun@example.com"]
    server.script("DELETE", "/v1/invitations/ivt_1", document(None, 204))
    client.withdraw_invitation("ivt_1")


def test_the_audit_log_names_both_of_an_impersonation(
    client: Client, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script("GET", "/v1/audit-events", page(EVENT), page(EVENT))
    [event] = client.iter_audit_events(action="content.opened")
    assert (event.actor.name, event.actor.in_place_of) == (
        "olga@voicereel.example",
        "mina@example.com",
    )
    assert "action=content.opened" in server.received[-1].path
    assert main(["audit"]) == 0
    assert "olga@voicereel.example (for mina@example.com)" in capsys.readouterr().out


def export_with_archive(server: ScriptedServer) -> dict[str, Any]:
    archive = {
        "url": f"{server.url}/v1/archives/x/a.zip",
        "size_bytes": len(ARCHIVE),
        "sha256": hashlib.sha256(ARCHIVE).hexdigest(),
    }
    return EXPORT | {"status": "succeeded", "files_done": 2, "archive": archive}


def test_an_export_is_made_waited_for_and_fetched(
    client: Client, server: ScriptedServer, tmp_path: Path
) -> None:
    done = document(export_with_archive(server))
    server.script("POST", "/v1/exports", document(EXPORT, 202))
    server.script("GET", "/v1/exports/exp_1", document(EXPORT), done, done)
    server.script("GET", "/v1/archives/x/a.zip", Reply(200, ARCHIVE))
    seen: list[int] = []
    made = client.create_export()
    made = client.wait_for_export(made.id, 10, lambda row: seen.append(row.files_done), poll_s=0.01)
    assert seen == [1, 2]
    path = client.download_export(made, tmp_path / "all.zip")
    assert path.read_bytes() == ARCHIVE
    assert "Authorization" not in server.received[-1].headers
    assert made.archive is not None
    assert made.archive.url not in repr(made)


def test_an_export_that_failed_says_why(client: Client, server: ScriptedServer) -> None:
    failed = EXPORT | {"status": "failed", "error": "It could not be made."}
    server.script("GET", "/v1/exports/exp_1", document(failed))
    with pytest.raises(FileUnavailable, match="It could not be made"):
        client.wait_for_export("exp_1", 10)


def test_export_on_the_command_line(
    client: Client, server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = document(export_with_archive(server))
    server.script("POST", "/v1/exports", document(EXPORT, 202))
    server.script("GET", "/v1/exports/exp_1", done, done)
    server.script("GET", "/v1/archives/x/a.zip", Reply(200, ARCHIVE))
    path = tmp_path / "all.zip"
    assert main(["export", "-o", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(path)
    assert "2 of 2 files" in err
    assert path.read_bytes() == ARCHIVE


def test_erasing_has_to_be_confirmed_and_shows_the_proof(
    client: Client, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script("POST", "/v1/speakers/spk_1/erase", document(ERASURE, 202))
    assert main(["erase-speaker", "spk_1", "--confirm", "Anna"]) == 0
    assert sent(server) == {"confirm": "Anna"}
    assert capsys.readouterr().out.strip() == ERASURE["proof_url"]
    assert main(["erase-account"]) == 2
    server.script("POST", "/v1/erasures", document(ERASURE | {"speaker_id": None}, 202))
    assert client.erase_account(confirm="ten_1").speaker_id is None
    server.script("GET", "/v1/erasures/era_1", document(ERASURE | {"status": "erased"}))
    assert client.get_erasure("era_1").status == "erased"


def test_members_on_the_command_line(
    client: Client, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script("GET", "/v1/members", page(MEMBER))
    server.script("GET", "/v1/invitations", page(INVITATION))
    assert main(["members", "list"]) == 0
    out = capsys.readouterr().out
    assert "mina@example.com" in out
    assert "invited" in out
    server.script("POST", "/v1/invitations", document(INVITATION, 201))
    assert main(["members", "invite", "jun@example.com", "viewer"]) == 0
    assert sent(server) == {"email": "jun@example.com", "role": "viewer"}
    server.script("PATCH", "/v1/members/mem_1", document(MEMBER | {"role": "admin"}))
    assert main(["members", "role", "mem_1", "admin"]) == 0
    server.script("DELETE", "/v1/members/mem_1", document(None, 204))
    assert main(["members", "remove", "mem_1", "--yes"]) == 0
    server.script("DELETE", "/v1/invitations/ivt_1", document(None, 204))
    assert main(["members", "withdraw", "ivt_1"]) == 0
