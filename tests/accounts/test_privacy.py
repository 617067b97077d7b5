"""A tenant gets all that is kept of it, and has it gone."""

import hashlib
import io
import json
import logging
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, models
from django.test import Client
from django.utils import timezone

from accounts import log_file
from accounts.models import (
    ApiKey,
    AuditEvent,
    DataExport,
    Erasure,
    Invitation,
    Membership,
    OutboxMessage,
    Tenant,
    User,
)
from accounts.outbox import relay
from accounts.people.members import _token
from accounts.privacy import exports
from accounts.privacy.exports import KEPT, build_export, forget_exports, sweep_exports
from accounts.privacy.rows import kind_of, models_of_tenants
from accounts.tasks import erase_tenant, sweep_erasures
from billing.accounts import account_of
from billing.invoicing import (
    credit_invoice,
    draft_invoice,
    finalize_invoice,
    mirror_later,
    record_payment,
)
from billing.models import Credit, Price, ServiceCredit
from billing.periods import Month
from billing.rollups import count_usage
from billing.sending import send_invoice
from billing.usage import Measurement, record_usage
from speakers.models import Speaker
from synthesis.comparison.comparisons import get_comparison, jobs_of, vote, welcome
from synthesis.models import Comparison, Job
from synthesis.tasks import erase_speaker
from tests.accounts.disk import contents_below, files_below
from tests.conftest import Api, Browser, log_in, make_person

NAME, TEXT, TITLE = "Zebulon Alderwood", "The heron sleeps at noon.", "Secret pilot"


def fill(
    api: Api,
    make_speaker: Callable[..., Speaker],
    make_member: Callable[..., Browser],
    render: Callable[[str], None],
) -> dict[str, Any]:
    """One of everything that a tenant can have. Returns its ids."""
    speaker = make_speaker(api, NAME, metadata={"contract": "AX-77"})
    # Another tenant's files are there to be left alone: each has its own.
    path = f"{speaker.folder}/reference-0.flac"
    default_storage.save(path, io.BytesIO(f"voice of {api.tenant.name}".encode()))
    speaker.clips.create(tenant=api.tenant, position=0, audio_key=path, duration_ms=35_000)
    body = {"title": TITLE, "script": [{"speaker_id": speaker.pk, "text": TEXT}]}
    jobs = [
        api.post("/v1/synthesize", body, **{"Idempotency-Key": f"job-{n}"}).json()["id"]
        for n in range(2)
    ]
    render(jobs[0])
    entry = {"language": "en", "written": "AX-77", "spoken": "the contract"}
    assert api.put("/v1/pronunciations", {"entries": [entry]}).status_code == 200
    member = make_member(api, email=f"zoe@{api.tenant.name.lower()}.example")
    for path, sent in (
        ("/v1/keys", {"label": "nightly", "require_signature": True}),
        ("/v1/webhook-endpoints", {"url": "https://93.184.215.14/"}),
        ("/v1/invitations", {"email": "jun@example.com", "role": "viewer"}),
    ):
        assert member.post(path, sent).status_code == 201
    body["script"] = [{"speaker_id": speaker.pk, "text": "A second one."}]
    third = api.post("/v1/synthesize", body).json()["id"]
    render(third)  # told to the endpoint
    assert member.send(f"/jobs/{third}/change", do="draft").status_code == 302
    compared = {
        "title": TITLE,
        "texts": ["A second one."],
        "variants": [{"speaker_id": speaker.pk}, {"speaker_id": speaker.pk, "speed": 1.2}],
    }
    comparison = Comparison.objects.get(pk=api.post("/v1/comparisons", compared).json()["id"])
    for job in jobs_of(comparison).values():
        render(job.pk)
    comparison = get_comparison(api.tenant, comparison.pk)
    assert vote(comparison, welcome(comparison), 0, "first")
    fill_books(api.tenant)
    return {"speaker": speaker.pk, "jobs": [*jobs, third], "member": member}


def fill_books(tenant: Tenant) -> None:
    """An invoice with all that can hang on one, of the usage that there is."""
    account = account_of(tenant, timezone.now())
    month = Month.containing(timezone.now(), account.time_zone)
    credit = Credit.objects.create(tenant=tenant, amount_minor=1, currency="USD", reason="Sorry")
    ServiceCredit.objects.create(
        tenant=tenant,
        month=month.name,
        availability=1,
        percent=10,
        base_minor=10,
        amount_minor=1,
        currency="USD",
        status="granted",
        credit=credit,
    )
    Price.objects.create(
        tenant=tenant,
        plan="standard",
        currency="USD",
        base_fee_minor=0,
        included_ms=0,
        tiers=[{"up_to_ms": None, "per_minute": "15"}],
        valid_from=timezone.now(),
    )
    minutes = Measurement("audio_ms", 600_000)
    record_usage(tenant, [minutes], source=f"job:{tenant.pk}", occurred_at=timezone.now())
    with time_machine.travel(month.end + timedelta(days=3), tick=False):
        draft = draft_invoice(tenant, month)
        assert draft is not None
        invoice = finalize_invoice(draft)
        record_payment(
            invoice, 1, method="transfer", reference=tenant.pk, received_at=timezone.now()
        )
        credit_invoice(invoice, None, reason="Noise")
        mirror_later(invoice)
        count_usage(tenant.pk)
        send_invoice(invoice)


@pytest.fixture
def filled(
    alder: Api,
    birch: Api,
    make_speaker: Callable[..., Speaker],
    make_member: Callable[..., Browser],
    render: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    return {api.tenant.name: fill(api, make_speaker, make_member, render) for api in (alder, birch)}


def export_of(api: Api) -> tuple[dict[str, Any], zipfile.ZipFile]:
    """Ask for an archive, have it made, fetch it."""
    asked = api.post("/v1/exports")
    assert asked.status_code == 202
    build_export(api.tenant.pk, asked.json()["id"])
    shown = api.get(f"/v1/exports/{asked.json()['id']}").json()
    assert shown["status"] == "succeeded", shown
    reply = Client().get(shown["archive"]["url"])
    content = b"".join(reply.streaming_content)
    assert reply["Content-Type"] == "application/zip"
    assert f'filename="voicereel-{shown["id"]}.zip"' in reply["Content-Disposition"]
    assert len(content) == shown["archive"]["size_bytes"]
    assert hashlib.sha256(content).hexdigest() == shown["archive"]["sha256"]
    return shown, zipfile.ZipFile(io.BytesIO(content))


def test_an_export_has_every_row_and_file_and_no_secret(
    alder: Api, birch: Api, filled: dict[str, dict[str, Any]]
) -> None:
    shown, archive = export_of(alder)
    names = set(archive.namelist())
    rows = {
        name[5:-6]: [json.loads(line) for line in archive.read(name).splitlines()]
        for name in names
        if name.startswith("data/")
    }
    # Every model of a tenant's, whichever there are.
    assert set(rows) == {kind_of(model) for model in models_of_tenants()} | {"tenant", "person"}
    assert {kind for kind, found in rows.items() if not found} <= {
        "impersonation",
        "used_nonce",
    }
    assert shown["rows_done"] == sum(map(len, rows.values()))
    assert [row["name"] for row in rows["speaker"]] == [NAME]
    assert {row["text"] for row in rows["line"]} == {TEXT, "A second one."}
    assert [row["email"] for row in rows["person"]] == ["zoe@alder.example"]
    stored = {key for key in files_below(f"t/{alder.tenant.pk}") if "/x/" not in key}
    files = {f"t/{alder.tenant.pk}/{name[6:]}" for name in names if name.startswith("files/")}
    assert files == stored
    assert shown["files_done"] == shown["files_total"] == len(stored) > 5
    manifest = {
        name: sha256
        for sha256, name in (
            line.split("  ") for line in archive.read("MANIFEST").decode().splitlines()
        )
    }
    assert set(manifest) == names - {"MANIFEST"}
    for name, sha256 in manifest.items():
        assert hashlib.sha256(archive.read(name)).hexdigest() == sha256
    everything = b"".join(archive.read(name) for name in names)
    key = ApiKey.objects.for_tenant(alder.tenant).exclude(signing_secret=None).get()
    for hidden in (
        birch.tenant.pk,
        birch.key.pk,
        *filled["Birch"]["jobs"],
        key.digest,
        alder.key.digest,
        User.objects.get(email="zoe@alder.example").password,
        "voice of Birch",
    ):
        assert hidden.encode() not in everything


def test_one_export_at_a_time_and_each_is_on_record(alder: Api) -> None:
    first = alder.post("/v1/exports", **{"Idempotency-Key": "a"})
    again = alder.post("/v1/exports", **{"Idempotency-Key": "a"})
    assert first.json()["id"] == again.json()["id"]
    refused = alder.post("/v1/exports")
    assert refused.status_code == 409
    assert first.json()["archive"] is None
    build_export(alder.tenant.pk, first.json()["id"])
    build_export(alder.tenant.pk, first.json()["id"])  # a message that came twice
    assert DataExport.objects.get().rows_done > 0
    alder.get(f"/v1/exports/{first.json()['id']}")
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["export.requested", "export.opened"]
    assert alder.post("/v1/exports").status_code == 202


def test_an_export_whose_worker_died_is_made_by_another(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_id = alder.post("/v1/exports").json()["id"]
    OutboxMessage.objects.all().delete()

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("accounts.privacy.exports._write", die)
        with pytest.raises(Killed):
            build_export(alder.tenant.pk, export_id)
    build_export(alder.tenant.pk, export_id)  # its lease is another's still
    assert alder.get(f"/v1/exports/{export_id}").json()["status"] == "processing"
    sweep_exports()
    assert not OutboxMessage.objects.exists()
    DataExport.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    sweep_exports()
    assert OutboxMessage.objects.get().payload["task"] == "accounts.build_export"
    build_export(alder.tenant.pk, export_id)
    assert alder.get(f"/v1/exports/{export_id}").json()["status"] == "succeeded"


def test_who_lost_an_export_leaves_the_winners_archive_alone(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_id = alder.post("/v1/exports").json()["id"]
    write = exports._write

    def slow(path: Path, export: DataExport, files: Any) -> tuple[int, int]:
        """While the first still writes, its lease runs out and another makes the archive."""
        monkeypatch.setattr(exports, "_write", write)
        DataExport.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        build_export(alder.tenant.pk, export_id)
        return write(path, export, files)

    monkeypatch.setattr(exports, "_write", slow)
    build_export(alder.tenant.pk, export_id)
    while relay():
        pass
    shown = alder.get(f"/v1/exports/{export_id}").json()
    content = b"".join(Client().get(shown["archive"]["url"]).streaming_content)
    assert hashlib.sha256(content).hexdigest() == shown["archive"]["sha256"]
    assert len([key for key in files_below(f"t/{alder.tenant.pk}") if "/x/" in key]) == 1


def test_one_archive_is_kept_the_newest(alder: Api) -> None:
    first, _ = export_of(alder)
    second, _ = export_of(alder)
    while relay():
        pass
    rows = {row["id"]: row["archive"] for row in alder.get("/v1/exports").json()["data"]}
    assert rows[first["id"]] is None
    assert rows[second["id"]]
    assert len([key for key in files_below(f"t/{alder.tenant.pk}") if "/x/" in key]) == 1


def test_an_export_that_cannot_be_made_says_so(alder: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = alder.post("/v1/exports").json()["id"]
    monkeypatch.setattr("accounts.privacy.exports._LEAST_LEFT_BYTES", 1 << 60)
    default_storage.save(f"t/{alder.tenant.pk}/s/a/b.flac", io.BytesIO(b"x"))
    build_export(alder.tenant.pk, export_id)
    shown = alder.get(f"/v1/exports/{export_id}").json()
    assert shown["status"] == "failed"
    assert "Ask for another one later" in shown["error"]
    assert not any("/x/" in key for key in files_below(f"t/{alder.tenant.pk}"))


def test_an_archive_is_gone_after_a_week(alder: Api) -> None:
    shown, _ = export_of(alder)
    DataExport.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    forget_exports()
    assert files_below(f"t/{alder.tenant.pk}")
    DataExport.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    forget_exports()
    while relay():
        pass
    assert not files_below(f"t/{alder.tenant.pk}")
    assert alder.get(f"/v1/exports/{shown['id']}").json()["archive"] is None
    assert Client().get(shown["archive"]["url"]).status_code == 403
    assert timedelta(days=7) == KEPT


def test_a_link_to_an_archive_lives_15_minutes(alder: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, _ = export_of(alder)
    url = shown["archive"]["url"]
    now = time.time()
    for minutes, status in ((14, 200), (16, 403)):
        monkeypatch.setattr("django.core.signing.time.time", lambda m=minutes: now + m * 60)
        assert Client().get(url).status_code == status
    monkeypatch.undo()
    default_storage.delete(DataExport.objects.get().archive_key)
    assert Client().get(url).status_code == 404
    assert Client().post(url).status_code == 405


def everything_stored() -> str:
    """Every row of every table, as text."""
    return "\n".join(
        f"{model._meta.label} {row}"
        for model in apps.get_models()
        for row in model._base_manager.values()
    )


def rows_of(api: Api) -> dict[str, list[dict[str, Any]]]:
    return {
        model.__name__: list(
            model._default_manager.filter(tenant_id=api.tenant.pk).order_by("pk").values()
        )
        for model in models_of_tenants()
    }


@pytest.fixture
def log(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """What the product logs, in a file."""
    settings.LOG_FILE = str(tmp_path / "voicereel.log")
    handler = log_file.ErasableLog(settings.LOG_FILE)
    logging.getLogger().addHandler(handler)
    yield tmp_path / "voicereel.log"
    logging.getLogger().removeHandler(handler)
    handler.close()


def finish(erasure_id: str, tenant_id: str) -> Erasure:
    """Both rounds of an erasure: the second when the quiet minute is over."""
    erase_tenant(tenant_id, erasure_id)
    row = Erasure.objects.get(pk=erasure_id)
    assert row.status == Erasure.Status.ERASING
    Erasure.objects.filter(pk=erasure_id).update(started_at=timezone.now() - timedelta(minutes=2))
    erase_tenant(tenant_id, erasure_id)
    OutboxMessage.objects.filter(payload__task="accounts.erase_tenant").delete()
    return Erasure.objects.get(pk=erasure_id)


def test_after_the_erasure_of_a_tenant_nothing_is_left_but_the_proof(
    alder: Api, birch: Api, filled: dict[str, dict[str, Any]], log: Path
) -> None:
    export_of(alder)
    while relay():
        pass
    kept = rows_of(birch), contents_below(f"t/{birch.tenant.pk}")
    theirs = {row["id"] for rows in rows_of(alder).values() for row in rows if "id" in row}
    theirs = {name for name in theirs if isinstance(name, str)} | {alder.tenant.pk}
    member: Browser = filled["Alder"]["member"]
    session_key = member.client.session.session_key
    # As logging in by a page notes it.
    UserSession.objects.create(user=member.user, ip="127.0.0.1", session_key=session_key)
    file_count = len(files_below(f"t/{alder.tenant.pk}"))
    lines_of_alder = log.read_text().count(alder.tenant.pk)
    assert lines_of_alder
    lines_of_birch = [line for line in log.read_text().splitlines() if birch.tenant.pk in line]

    asked = alder.post("/v1/erasures", {"confirm": alder.tenant.pk})
    assert asked.status_code == 202
    # From the next request on nobody is let in.
    assert alder.get("/v1/jobs").status_code == 401
    assert member.get("/v1/jobs").status_code == 401
    proof_path = asked.json()["proof_url"].split("testserver")[1]
    assert birch.request("GET", proof_path).json()["status"] == "requested"
    # A worker in the middle of a job writes one more file.
    row = finish(asked.json()["id"], alder.tenant.pk)

    stored = everything_stored()
    for name in theirs - {alder.key.pk, alder.tenant.pk}:
        assert name not in stored, name
    for text in (NAME, TEXT, TITLE, "AX-77"):
        assert stored.count(text) == everything_of(birch, text)
    # The proof and the mail that tells of it, and nothing else, name the account.
    naming = [line for line in stored.splitlines() if alder.tenant.pk in line]
    assert {line.split()[0] for line in naming} == {"accounts.Erasure", "accounts.OutboxMessage"}
    mail.outbox.clear()
    while relay():
        pass
    [message] = [one for one in mail.outbox if one.to == ["zoe@alder.example"]]
    assert row.pk in message.body
    naming = [line for line in everything_stored().splitlines() if alder.tenant.pk in line]
    assert [line.split()[0] for line in naming] == ["accounts.Erasure"]
    assert "zoe@alder.example" not in everything_stored()
    assert not files_below(f"t/{alder.tenant.pk}")
    assert not Session.objects.filter(pk=session_key).exists()
    assert not [line for line in log.read_text().splitlines() if alder.tenant.pk in line]
    assert row.log_lines >= lines_of_alder
    # The other tenant's are as they were, to the byte.
    assert (rows_of(birch), contents_below(f"t/{birch.tenant.pk}")) == kept
    after = log.read_text().splitlines()
    assert [line for line in after if line in lines_of_birch] == lines_of_birch
    assert birch.get(f"/v1/jobs/{filled['Birch']['jobs'][0]}").status_code == 200
    # The proof is there for whoever has its link.
    shown = birch.request("GET", proof_path).json()
    assert shown["status"] == "erased"
    assert shown["files"] == file_count
    assert shown["rows"]["job"] == 5  # two of them for the comparison
    assert shown["rows"]["tenant"] == shown["rows"]["person"] == 1
    assert (shown["account_id"], shown["requested_by"]) == (alder.tenant.pk, alder.key.pk)
    assert birch.request("GET", proof_path[:-2] + "xx").status_code == 404
    row.refresh_from_db()
    assert (row.recipients, row.pending) == ([], [])


def everything_of(api: Api, text: str) -> int:
    """How often a text stands in a tenant's rows and its people's."""
    people = list(User.objects.filter(memberships__tenant=api.tenant).values())
    lines = [f"{model} {row}" for model, rows in rows_of(api).items() for row in rows]
    return "\n".join([*lines, *map(str, people)]).count(text)


def test_what_a_worker_writes_meanwhile_goes_the_second_time(alder: Api) -> None:
    row = Erasure.objects.get(
        pk=alder.post("/v1/erasures", {"confirm": alder.tenant.pk}).json()["id"]
    )
    erase_tenant(alder.tenant.pk, row.pk)
    default_storage.save(f"t/{alder.tenant.pk}/j/job_1/lines/0000-1.flac", io.BytesIO(b"late"))
    again = OutboxMessage.objects.filter(payload__task="accounts.erase_tenant").latest("pk")
    assert again.due_at > timezone.now() + timedelta(seconds=50)
    Erasure.objects.update(started_at=timezone.now() - timedelta(minutes=2))
    erase_tenant(alder.tenant.pk, row.pk)
    assert not files_below(f"t/{alder.tenant.pk}")
    row.refresh_from_db()
    assert (row.status, row.files) == ("erased", 1)
    erase_tenant(alder.tenant.pk, row.pk)  # a message that came twice
    assert Erasure.objects.get().files == 1


def test_mail_that_waits_goes_with_its_tenant_and_no_other(
    alder: Api, birch: Api, make_member: Callable[..., Browser]
) -> None:
    zoe = make_member(alder, email="zoe@alder.example")
    assert (
        zoe.post("/v1/invitations", {"email": "jun@x.example", "role": "viewer"}).status_code == 201
    )
    owner = make_member(birch)
    ask = {"email": "zoe@alder.example", "role": "viewer"}
    assert owner.post("/v1/invitations", ask).status_code == 201
    Client().post("/account/password/reset/", {"email": "zoe@alder.example"})
    assert OutboxMessage.objects.filter(kind="mail").count() == 3
    erasure_id = alder.post("/v1/erasures", {"confirm": alder.tenant.pk}).json()["id"]
    finish(erasure_id, alder.tenant.pk)
    left = OutboxMessage.objects.filter(kind="mail").order_by("pk")
    # Birch's invitation, and the proof.
    assert [(row.tenant_id == birch.tenant.pk, row.subject) for row in left] == [
        (True, "zoe@alder.example"),
        (False, "zoe@alder.example"),
    ]
    assert not Session.objects.exclude(pk=owner.client.session.session_key).exists()


def test_nobody_joins_what_is_being_erased(alder: Api, make_member: Callable[..., Browser]) -> None:
    owner = make_member(alder)
    made = owner.post("/v1/invitations", {"email": "jun@x.example", "role": "owner"}).json()
    row = Invitation.objects.get(pk=made["id"])
    link = f"/invitation/{_token(row)}"
    owner.post("/v1/erasures", {"confirm": alder.tenant.pk})
    assert log_in(make_person("jun@x.example")).send(link).status_code == 404
    assert not Membership.objects.exists()


def test_an_erasure_that_failed_at_first_waits_its_quiet_minute(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasure_id = alder.post("/v1/erasures", {"confirm": alder.tenant.pk}).json()["id"]

    def fail(*_: object) -> None:
        raise OperationalError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr("accounts.privacy.erasures._erase_rows", fail)
        with pytest.raises(OperationalError):
            erase_tenant(alder.tenant.pk, erasure_id)
    Erasure.objects.update(requested_at=timezone.now() - timedelta(minutes=6))
    erase_tenant(alder.tenant.pk, erasure_id)
    assert Erasure.objects.get().status == "erasing"
    erase_tenant(alder.tenant.pk, erasure_id)  # a message that came early
    assert Erasure.objects.get().status == "erasing"
    assert not Tenant.objects.exists()


def test_people_of_another_tenant_and_operators_stay(
    alder: Api, birch: Api, make_member: Callable[..., Browser], operator: User
) -> None:
    both, alone = make_member(alder), make_member(alder, email="alone@alder.example")
    Membership.objects.create(tenant=birch.tenant, user=both.user, role="viewer")
    Membership.objects.create(tenant=alder.tenant, user=operator, role="viewer")
    asked = both.post("/v1/erasures", {"confirm": alder.tenant.pk})
    assert asked.status_code == 202
    finish(asked.json()["id"], alder.tenant.pk)
    left = set(User.objects.values_list("email", flat=True))
    assert left == {both.user.email, operator.email}
    assert both.get("/v1/jobs").status_code == 200
    assert alone.get("/members")["Location"].startswith("/account/login/")


def test_an_erasure_has_to_be_meant(alder: Api, make_member: Callable[..., Browser]) -> None:
    for confirm in ("", "Alder", "ten_" + "0" * 26):
        reply = alder.post("/v1/erasures", {"confirm": confirm})
        assert reply.status_code == 422
    assert alder.tenant.pk in reply.json()["detail"]
    assert (
        make_member(alder, "admin").post("/v1/erasures", {"confirm": alder.tenant.pk}).status_code
        == 403
    )
    assert not Erasure.objects.exists()
    assert alder.get("/v1/jobs").status_code == 200


def test_an_erasure_that_was_lost_is_taken_up_again(alder: Api) -> None:
    alder.post("/v1/erasures", {"confirm": alder.tenant.pk})
    OutboxMessage.objects.all().delete()
    sweep_erasures()
    assert not OutboxMessage.objects.exists()
    Erasure.objects.update(requested_at=timezone.now() - timedelta(minutes=6))
    sweep_erasures()
    sweep_erasures()
    assert OutboxMessage.objects.get().payload["task"] == "accounts.erase_tenant"


def test_a_speaker_is_erased_with_every_job_that_has_its_voice(
    alder: Api,
    birch: Api,
    filled: dict[str, dict[str, Any]],
    make_speaker: Callable[..., Speaker],
    render: Callable[[str], None],
) -> None:
    ids = filled["Alder"]
    other = make_speaker(alder, "Ben")
    lines = [{"speaker_id": other.pk, "text": "Mine alone."}]
    own = alder.post("/v1/synthesize", {"script": lines}).json()["id"]
    render(own)
    borrower = f"/v1/speakers/{make_speaker(alder, 'Cleo').pk}"
    alder.patch(borrower, {"speaks_as": ids["speaker"]})
    lines = [{"speaker_id": borrower.rpartition("/")[2], "text": "With another's voice."}]
    borrowed = alder.post("/v1/synthesize", {"script": lines}).json()["id"]
    render(borrowed)
    kept = (
        rows_of(birch),
        contents_below(f"t/{birch.tenant.pk}"),
        contents_below(f"t/{alder.tenant.pk}/j/{own}"),
    )
    archive, _ = export_of(alder)  # the voice is in it
    path = f"/v1/speakers/{ids['speaker']}/erase"
    refused = alder.post(path, {"confirm": "Somebody"})
    assert refused.status_code == 422
    assert NAME in refused.json()["detail"]
    asked = alder.post(path, {"confirm": NAME})
    assert asked.status_code == 202
    # The voice is withdrawn at once.
    assert alder.get(f"/v1/speakers/{ids['speaker']}").status_code == 404
    erasure_id = asked.json()["id"]
    erase_speaker(alder.tenant.pk, erasure_id)
    Erasure.objects.update(started_at=timezone.now() - timedelta(minutes=2))
    erase_speaker(alder.tenant.pk, erasure_id)
    shown = alder.get(f"/v1/erasures/{erasure_id}").json()
    assert (shown["status"], shown["speaker_id"]) == ("erased", ids["speaker"])
    assert shown["rows"]["job"] == 6  # two of them for the comparison, and the borrowed voice's
    assert shown["rows"]["speaker"] == shown["rows"]["reference_clip"] == 1
    assert shown["files"] > 5
    assert not any("/x/" in key for key in files_below(f"t/{alder.tenant.pk}"))
    assert Client().get(archive["archive"]["url"]).status_code == 403
    assert [row["id"] for row in alder.get("/v1/erasures").json()["data"]] == [erasure_id]
    for job_id in (*ids["jobs"], borrowed):
        assert alder.get(f"/v1/jobs/{job_id}").status_code == 404
    assert alder.get(borrower).json()["speaks_as"] is None
    naming = [
        line
        for line in everything_stored().splitlines()
        if ids["speaker"] in line or any(job in line for job in ids["jobs"])
    ]
    # What invoices rest on, the log, and the proof name it by id alone.
    assert {line.split()[0] for line in naming} <= {
        "billing.UsageEvent",
        "billing.UsageRollup",
        "accounts.AuditEvent",
        "accounts.Erasure",
        "accounts.OutboxMessage",
    }
    assert NAME not in "".join(naming)
    assert alder.get(f"/v1/jobs/{own}").status_code == 200
    assert kept == (
        rows_of(birch),
        contents_below(f"t/{birch.tenant.pk}"),
        contents_below(f"t/{alder.tenant.pk}/j/{own}"),
    )
    assert not Job.objects.filter(pk__in=ids["jobs"]).exists()


def test_operators_export_and_erase_by_command(
    alder: Api, birch: Api, filled: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    archive = tmp_path / "alder.zip"
    call_command("export_tenant", alder.tenant.pk, str(archive), stderr=io.StringIO())
    assert "data/job.jsonl" in zipfile.ZipFile(archive).namelist()
    event = AuditEvent.objects.for_tenant(alder.tenant).get(action="export.requested")
    assert (event.actor_kind, event.actor_name) == ("operator", "manage.py export_tenant")
    with pytest.raises(CommandError, match="same id twice"):
        call_command("erase_tenant", alder.tenant.pk, confirm=birch.tenant.pk)
    printed = io.StringIO()
    call_command(
        "erase_tenant",
        alder.tenant.pk,
        confirm=alder.tenant.pk,
        stdout=printed,
        stderr=io.StringIO(),
    )
    erasure_id = printed.getvalue().strip()
    finish(erasure_id, alder.tenant.pk)
    assert not Tenant.objects.filter(pk=alder.tenant.pk).exists()
    printed = io.StringIO()
    call_command("show_erasure", erasure_id, stdout=printed)
    proof = json.loads(printed.getvalue())
    assert (proof["status"], proof["requested_by"]) == ("erased", "operator")
    for command in (["erase_tenant", "ten_1", "--confirm", "ten_1"], ["show_erasure", "era_1"]):
        with pytest.raises(CommandError, match="There is no"):
            call_command(*command)


def test_every_model_that_names_a_tenant_is_exported_and_erased() -> None:
    """A model that is made later is in both, or fails here."""
    naming = {
        model
        for model in apps.get_models()
        if any(field.attname == "tenant_id" for field in model._meta.fields)
    }
    assert naming - set(models_of_tenants()) == {Erasure}
    pointing = {
        model
        for model in apps.get_models()
        for field in model._meta.fields
        if isinstance(field, models.ForeignKey) and field.related_model is Tenant
    }
    assert pointing <= naming
    order = models_of_tenants()
    for model in order:
        for field in model._meta.fields:
            if isinstance(field, models.ForeignKey) and field.related_model is model:
                assert field.remote_field.on_delete is models.SET_NULL
            elif isinstance(field, models.ForeignKey) and field.related_model in order:
                assert order.index(model) < order.index(field.related_model), model


def test_lines_are_added_and_taken_out_at_the_same_time(tmp_path: Path, settings: Any) -> None:
    """A line that is written while others are taken out is not lost."""
    settings.LOG_FILE = str(tmp_path / "a.log")
    handler = log_file.ErasableLog(settings.LOG_FILE)

    def write(name: str) -> None:
        for number in range(300):
            record = logging.LogRecord("x", logging.INFO, "", 0, f"{name} {number}", None, None)
            handler.handle(record)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("ten_a", "ten_b")]
    for thread in threads:
        thread.start()
    erased = 0
    while any(thread.is_alive() for thread in threads):
        erased += log_file.erase_lines("ten_a")
    erased += log_file.erase_lines("ten_a")
    assert erased == 300
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert lines == [f"ten_b {number}" for number in range(300)]
    # As it was, and what was rotated away with it.
    (tmp_path / "a.log").chmod(0o600)
    (tmp_path / "a.log.1").write_text("ten_b 1\nten_c 1\n")
    assert log_file.erase_lines("ten_c") == 1
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a.log.1").read_text() == "ten_b 1\n"
    assert not re.search("ten_a", "".join(lines))
    handler.close()
