"""/v1/keys: keys made, shown, rotated and ended by other keys."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys
from accounts.keys import issue_key, rotate_key
from accounts.models import ApiKey, IdempotentReply
from tests.conftest import Api
from voicereel_site.errors import Refusal


def with_key(api: Api, key: str) -> Api:
    return Api(api.tenant, ApiKey.objects.get(public_id=key.split("_")[2]), key)


def limited(api: Api, *scopes: str, **fields: Any) -> Api:
    """The same customer with a key that may do less."""
    row, key, _ = issue_key(api.tenant, scopes=scopes, **fields)
    return Api(api.tenant, row, key)


def created(api: Api, **body: Any) -> tuple[dict[str, Any], Api]:
    reply = api.post("/v1/keys", body)
    assert reply.status_code == 201, reply.json()
    shown: dict[str, Any] = reply.json()
    return shown, with_key(api, shown["key"])


def refused(reply: Any, status: int, code: str) -> str:
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    return str(reply.json()["detail"])


def move_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    now = timezone.now
    monkeypatch.setattr(keys.timezone, "now", lambda: now() + by)


def test_a_created_key_works_and_is_shown_this_once(alder: Api) -> None:
    shown, new = created(alder, label="CI", scopes=["jobs:read", "speakers:read"])
    assert shown["id"].startswith("key_")
    assert shown["key"].startswith(f"{shown['prefix']}_")
    assert shown["scopes"] == ["jobs:read", "speakers:read"]
    assert (shown["label"], shown["mode"], shown["expires_at"]) == ("CI", "live", None)
    assert new.get("/v1/jobs").status_code == 200
    again = alder.get(f"/v1/keys/{shown['id']}")
    assert "key" not in again.json()
    listed = alder.get("/v1/keys").json()["data"]
    assert {row["id"] for row in listed} == {shown["id"], alder.key.pk}
    secret = shown["key"].rsplit("_", 1)[1]
    assert secret not in again.content.decode() + json.dumps(listed)
    assert secret[:43] not in str(list(ApiKey.objects.values()))


def test_a_repeated_request_makes_one_key_and_keeps_no_secret(alder: Api) -> None:
    headers = {"Idempotency-Key": "make-it-once"}
    first = alder.post("/v1/keys", {"label": "CI"}, **headers)
    second = alder.post("/v1/keys", {"label": "CI"}, **headers)
    assert first.status_code == second.status_code == 201
    assert second["Idempotent-Replayed"] == "true"
    assert second.json() == first.json() | {"key": None}
    assert ApiKey.objects.for_tenant(alder.tenant).count() == 2
    kept = IdempotentReply.objects.get()
    assert first.json()["key"].rsplit("_", 1)[1] not in kept.body
    rotated = alder.post(f"/v1/keys/{first.json()['id']}/rotate", {}, **{"Idempotency-Key": "r"})
    assert rotated.json()["key"].rsplit("_", 1)[1] not in str(
        list(IdempotentReply.objects.values())
    )


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["jobs:fly"]}, "/scopes/0"),
        ({"scopes": "*"}, "/scopes"),
        ({"scopes": ["*"] * 100}, "/scopes"),
        ({"mode": "play"}, "/mode"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"label": "a\u202eb"}, "/label"),
        ({"label": "x" * 201}, "/label"),
        ({"name": "CI"}, "/name"),
    ],
)
def test_a_malformed_wish_is_refused(alder: Api, body: dict[str, Any], pointer: str) -> None:
    reply = alder.post("/v1/keys", body)
    refused(reply, 422, "validation_error")
    assert reply.json()["errors"][0]["pointer"] == pointer
    assert ApiKey.objects.for_tenant(alder.tenant).count() == 1


def test_a_key_gives_away_no_more_than_it_has(alder: Api) -> None:
    maker = limited(alder, "keys:write", "jobs:read")
    detail = refused(
        maker.post("/v1/keys", {"scopes": ["jobs:read", "jobs:write"]}), 403, "insufficient_scope"
    )
    assert "jobs:write" in detail
    refused(maker.post("/v1/keys", {"scopes": ["*"]}), 403, "insufficient_scope")
    # Nor by rotating a key that may do more.
    refused(maker.post(f"/v1/keys/{alder.key.pk}/rotate", {}), 403, "insufficient_scope")
    assert created(maker, scopes=["jobs:read"])[0]["scopes"] == ["jobs:read"]
    assert created(maker)[0]["scopes"] == ["keys:write", "jobs:read"]

    tester = limited(alder, "*", live=False)
    refused(tester.post("/v1/keys", {"mode": "live"}), 403, "insufficient_scope")
    refused(tester.post(f"/v1/keys/{alder.key.pk}/rotate", {}), 403, "insufficient_scope")
    assert created(tester, mode="test")[0]["mode"] == "test"

    end = timezone.now() + timedelta(hours=1)
    passing = limited(alder, "*", expires_at=end)
    later = (end + timedelta(minutes=1)).isoformat()
    refused(passing.post("/v1/keys", {"expires_at": later}), 403, "insufficient_scope")
    refused(passing.post(f"/v1/keys/{alder.key.pk}/rotate", {}), 403, "insufficient_scope")
    shown = created(passing)[0]["expires_at"]
    assert datetime.fromisoformat(shown.replace("Z", "+00:00")) == end


def test_a_key_dies_when_it_expires(alder: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    end = (timezone.now() + timedelta(hours=2)).isoformat()
    _, new = created(alder, expires_at=end)
    move_clock(monkeypatch, timedelta(minutes=119))
    assert new.get("/v1/jobs").status_code == 200
    move_clock(monkeypatch, timedelta(minutes=2))
    refused(new.get("/v1/jobs"), 401, "invalid_api_key")
    assert alder.get("/v1/jobs").status_code == 200


def test_both_keys_work_during_the_overlap_and_then_the_new_one(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_row, old = created(alder, label="CI", scopes=["jobs:read"])
    reply = alder.post(f"/v1/keys/{old_row['id']}/rotate", {"overlap_hours": 2})
    assert reply.status_code == 201
    assert reply["Cache-Control"] == "no-store"
    new = with_key(alder, reply.json()["key"])
    assert reply.json()["scopes"] == ["jobs:read"]
    assert reply.json()["label"] == "CI"
    shown = alder.get(f"/v1/keys/{old_row['id']}").json()
    assert shown["replaced_by"] == reply.json()["id"]
    ends_in = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < ends_in <= timedelta(hours=2)
    assert old.get("/v1/jobs").status_code == new.get("/v1/jobs").status_code == 200
    # A key is replaced once.
    refused(alder.post(f"/v1/keys/{old_row['id']}/rotate", {}), 409, "validation_error")
    move_clock(monkeypatch, timedelta(minutes=119))
    assert old.get("/v1/jobs").status_code == 200
    move_clock(monkeypatch, timedelta(minutes=2))
    refused(old.get("/v1/jobs"), 401, "invalid_api_key")
    assert new.get("/v1/jobs").status_code == 200


def test_an_overlap_prolongs_no_keys_life(alder: Api) -> None:
    end = timezone.now() + timedelta(hours=1)
    row, _ = created(alder, expires_at=end.isoformat())
    new = alder.post(f"/v1/keys/{row['id']}/rotate", {"overlap_hours": 168}).json()
    assert ApiKey.objects.get(pk=row["id"]).expires_at == end
    assert ApiKey.objects.get(pk=new["id"]).expires_at == end


def test_a_rotation_without_overlap_ends_the_old_key_at_once(alder: Api) -> None:
    row, old = created(alder)
    assert alder.post(f"/v1/keys/{row['id']}/rotate", {"overlap_hours": 0}).status_code == 201
    refused(old.get("/v1/jobs"), 401, "invalid_api_key")


def test_a_revoked_key_is_refused_from_the_next_request_on(alder: Api) -> None:
    row, new = created(alder)
    assert new.get("/v1/jobs").status_code == 200
    assert alder.post(f"/v1/keys/{row['id']}/revoke").status_code == 200
    refused(new.get("/v1/jobs"), 401, "invalid_api_key")
    revoked_at = alder.get(f"/v1/keys/{row['id']}").json()["revoked_at"]
    assert revoked_at
    assert alder.post(f"/v1/keys/{row['id']}/revoke").status_code == 200
    assert alder.get(f"/v1/keys/{row['id']}").json()["revoked_at"] == revoked_at
    refused(alder.post(f"/v1/keys/{row['id']}/rotate", {}), 409, "validation_error")


def test_last_use_is_written_at_most_once_a_minute(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def writes() -> int:
        """How many statements of a request change something."""
        with CaptureQueriesContext(connection) as asked:
            alder.get("/v1/jobs")
        return sum("UPDATE " in query["sql"] for query in asked.captured_queries)

    assert alder.key.last_used_at is None
    assert writes() == 1
    first = alder.get(f"/v1/keys/{alder.key.pk}").json()["last_used_at"]
    assert datetime.now(UTC) - datetime.fromisoformat(first) < timedelta(seconds=10)
    assert [writes(), writes()] == [0, 0]
    move_clock(monkeypatch, timedelta(seconds=61))
    assert [writes(), writes()] == [1, 0]
    assert alder.get(f"/v1/keys/{alder.key.pk}").json()["last_used_at"] > first


def test_keys_are_found_in_a_leak_and_revoked(alder: Api, birch: Api) -> None:
    revoked, dead = created(alder)
    alder.post(f"/v1/keys/{revoked['id']}/revoke")
    mistyped = alder.secret[:-1] + ("a" if alder.secret[-1] != "a" else "b")
    leak = f'KEY="{alder.secret}"\n{dead.secret} {mistyped} {alder.secret}\nvr_live_no'

    def found(*options: str) -> list[list[str]]:
        out, err = io.StringIO(), io.StringIO()
        call_command("revoke_leaked_keys", *options, stdout=out, stderr=err)
        assert alder.secret.rsplit("_", 1)[1] not in out.getvalue() + err.getvalue()
        assert "2 of our keys" in err.getvalue()
        return [row.split("\t")[::3] for row in out.getvalue().splitlines()]

    def stdin(patch: pytest.MonkeyPatch) -> None:
        patch.setattr("sys.stdin", io.StringIO(leak))

    with pytest.MonkeyPatch.context() as patch:
        stdin(patch)
        expected = [[alder.key.pk, "works"], [revoked["id"], "dead before"]]
        assert found("--dry-run", "-") == expected
        assert alder.get("/v1/jobs").status_code == 200
        stdin(patch)
        assert found("-")[0] == [alder.key.pk, "revoked"]
    refused(alder.get("/v1/jobs"), 401, "invalid_api_key")
    assert birch.get("/v1/jobs").status_code == 200


def test_of_two_rotations_at_once_one_makes_a_key(alder: Api) -> None:
    victim, _, _ = issue_key(alder.tenant)
    stale = ApiKey.objects.get(pk=victim.pk)  # as both requests read it
    rotate_key(alder.key, victim, timedelta(hours=1))
    with pytest.raises(Refusal) as refusal:
        rotate_key(alder.key, stale, timedelta(hours=1))
    assert refusal.value.status == 409
    assert ApiKey.objects.for_tenant(alder.tenant).count() == 3
