"""Statements that are kept say what the queryset that they were made of says."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import prepared as module
from accounts.keys import issue_key
from accounts.models import ApiKey
from accounts.prepared import NewRows, insert_rows, prepared
from billing.models import UsageEvent
from speakers.models import Speaker
from synthesis.models import Job, Line
from tests.conftest import Api


def values_of(row: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_state"}


def test_rows_are_those_of_the_queryset(alder: Api, birch: Api, submit: Callable[..., Any]) -> None:
    ids = [submit(alder, title="한국어")["id"] for _ in range(2)]
    foreign = submit(birch)["id"]

    @prepared
    def jobs(tenant_id: str, *wanted: str) -> "QuerySet[Job]":
        return Job.objects.for_tenant(tenant_id).filter(pk__in=wanted).order_by("pk")

    for wanted in ([ids[0]], ids, [foreign], [ids[1]]):
        found = jobs(alder.tenant.pk, *wanted)
        expected = Job.objects.filter(tenant=alder.tenant, pk__in=wanted).order_by("pk")
        assert [values_of(row) for row in found] == [values_of(row) for row in expected]
        assert all(type(row) is Job and row.pk in wanted for row in found)
    assert not jobs(alder.tenant.pk, foreign)


def test_related_rows_annotations_deferred_columns_and_plain_values_come_along(
    alder: Api, make_speaker: Callable[..., Speaker]
) -> None:
    anna = make_speaker(alder)
    anna.clips.create(
        tenant=alder.tenant, position=0, audio_key="x", duration_ms=1, transcript="Hm."
    )

    @prepared
    def keys(public_id: str) -> "QuerySet[ApiKey]":
        return ApiKey.objects.select_related("tenant").filter(public_id=public_id)

    @prepared
    def speakers(tenant_id: str, limit: int) -> "QuerySet[Speaker]":
        rows = Speaker.objects.for_tenant(tenant_id).present().with_transcript()
        return rows.order_by("pk")[:limit]

    @prepared
    def names(tenant_id: str) -> "QuerySet[Speaker]":
        return Speaker.objects.for_tenant(tenant_id).values_list("name", "language")

    [key] = keys(alder.key.public_id)
    with pytest.MonkeyPatch.context() as patch:  # nothing is asked for any more
        patch.setattr(connection, "cursor", None)
        assert key.tenant.name == "Alder"
        assert key.scopes == alder.key.scopes
    [speaker] = speakers(alder.tenant.pk, 1)
    assert (speaker.first_transcript, speaker.voice_mode) == ("Hm.", "nearest_preset")
    assert "voice_data" in speaker.get_deferred_fields()
    assert speaker.voice_data == anna.voice_data
    assert list(names(alder.tenant.pk)) == [("Anna", "en")]
    make_speaker(alder, "Bo")
    assert len(speakers(alder.tenant.pk, 1)) == 1
    assert len(speakers(alder.tenant.pk, 2)) == 2


def test_a_statement_may_follow_another_in_the_same_round_trip(alder: Api, birch: Api) -> None:
    @prepared
    def first(tenant_id: str) -> "QuerySet[ApiKey]":
        return ApiKey.objects.for_tenant(tenant_id).select_for_update(no_key=True)

    @prepared
    def then(tenant_id: str) -> "QuerySet[ApiKey]":
        return ApiKey.objects.for_tenant(tenant_id).values_list("tenant", "public_id")

    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        for api in (alder, birch):
            assert then.after(first, api.tenant.pk) == [(api.tenant.pk, api.key.public_id)]
    if connection.vendor == "postgresql":  # where each is told what to keep first
        assert len([one for one in asked if "EXECUTE" in one["sql"]]) == 2


def test_a_statement_that_lost_an_argument_is_refused() -> None:
    @prepared
    def all_of_them(tenant_id: str) -> "QuerySet[Job]":
        return Job.objects.all()

    @prepared
    def changed(title: str) -> "QuerySet[Job]":
        return Job.objects.filter(title=title.upper())

    for rows in (all_of_them, changed):
        with pytest.raises(ValueError, match="not all arguments"):
            rows("ten_x")


def test_a_statement_is_made_once(alder: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "statements", {})
    built = []

    @prepared
    def keys(public_id: str) -> "QuerySet[ApiKey]":
        built.append(public_id)
        return ApiKey.objects.filter(public_id=public_id)

    others = [issue_key(alder.tenant).row for _ in range(3)]
    for row in (alder.key, *others):
        assert [found.pk for found in keys(row.public_id)] == [row.pk]
    assert len(built) == 1


@pytest.mark.parametrize("text", ["'; DROP TABLE synthesis_job; --", "100%", "%s", "$1", "a\\'b"])
def test_arguments_are_values_whatever_they_look_like(alder: Api, text: str) -> None:
    @prepared
    def named(tenant_id: str, name: str) -> "QuerySet[Speaker]":
        return Speaker.objects.for_tenant(tenant_id).filter(name=name)

    assert named(alder.tenant.pk, text) == []
    assert Job.objects.count() == 0


def test_inserted_rows_are_those_that_django_would_insert(
    alder: Api, make_speaker: Callable[..., Speaker], submit: Callable[..., Any]
) -> None:
    job = Job.objects.get(pk=submit(alder)["id"])
    speaker = make_speaker(alder, "Bo")
    rows = [
        {
            "tenant_id": alder.tenant.pk,
            "job_id": job.pk,
            "position": position,
            "line_id": str(position),
            "speaker_id": speaker.pk,
            "text": "안녕 %s",
            "language": "ko",
            "speed": 1.5,
        }
        for position in (5, 6)
    ]
    other = Job(
        tenant=alder.tenant,
        api_key_id="key_x",
        output={"a": 1},
        captions=["vtt"],
        seed=7,
        lines_total=1,
        created_at=timezone.now(),
    )
    insert_rows(NewRows(Line, rows), NewRows(Job, [vars(other)]))
    kept = list(Line.objects.filter(job=job, position__gt=4))
    assert [(row.position, row.text, row.words, row.audio_start) for row in kept] == [
        (5, "안녕 %s", None, 0),
        (6, "안녕 %s", None, 0),
    ]
    assert len({row.pk for row in kept}) == 2
    stored = Job.objects.get(pk=other.pk)
    assert (stored.output, stored.captions, stored.created_at) == (
        {"a": 1},
        ["vtt"],
        other.created_at,
    )
    assert not UsageEvent.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps no plans")
@pytest.mark.django_db(transaction=True)
def test_a_migration_of_a_column_does_not_stop_processes_that_run(alder: Api) -> None:
    @prepared
    def keys(public_id: str) -> "QuerySet[ApiKey]":
        return ApiKey.objects.filter(public_id=public_id)

    assert len(keys(alder.key.public_id)) == 1
    change = "ALTER TABLE accounts_apikey ALTER COLUMN label TYPE varchar({})"
    with connection.cursor() as cursor:
        cursor.execute(change.format(201))
    try:
        assert len(keys(alder.key.public_id)) == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute(change.format(200))
