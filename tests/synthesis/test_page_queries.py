"""How many queries a page makes is the same however much there is to show."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit
from accounts.keys import issue_key
from accounts.models import Membership, WebhookEndpoint
from billing.accounts import account_of
from billing.models import Invoice
from billing.periods import Month
from billing.usage import Measurement, record_usage
from speakers.models import Speaker
from synthesis import backlog
from synthesis.models import Comparison, Draft, Job, Line, Variant
from synthesis.studio.drafts import blank_line, start_draft
from tests.conftest import Api, Browser, make_person

# The most that a page may ask of the database; sessions, the person and their memberships are four.
PAGES = {
    "/": 12,
    "/studio": 6,
    "/speakers": 6,
    "/speakers/new": 5,
    "/jobs": 6,
    "/comparisons": 8,
    "/comparisons/new": 6,
    "/usage": 20,
    "/usage/live": 20,
    "/service": 11,
    "/status": 6,
    "/invoices": 6,
    "/billing": 7,
    "/keys": 6,
    "/members": 7,
    "/webhooks": 6,
    "/privacy": 7,
    "/audit": 6,
    "comparison": 11,
    "/v1/comparisons": 10,
    "draft": 14,
    "job": 7,
    "job/player": 7,
    "invoice": 12,
}


@pytest.fixture
def browser(alder: Api, make_member: Callable[..., Browser]) -> Browser:
    return make_member(alder)


@pytest.fixture
def paths(
    alder: Api,
    make_speaker: Callable[..., Speaker],
    submit: Callable[..., dict[str, Any]],
    render: Callable[[str], None],
) -> dict[str, str]:
    job = submit(alder, "One.", "Two.")
    render(job["id"])
    speaker = make_speaker(alder)
    draft = start_draft(alder.tenant, "A draft", _lines(speaker, 2))
    Draft.objects.filter(pk=draft.pk).update(last_job_id=job["id"])
    return {
        "draft": f"/studio/{draft.pk}",
        "comparison": f"/comparisons/{_comparison(alder, job['id'], speaker).pk}",
        "job": f"/jobs/{job['id']}",
        "job/player": f"/jobs/{job['id']}/player",
        "invoice": f"/invoices/{_invoice(alder, 0).pk}",
    }


def _lines(speaker: Speaker, count: int) -> list[dict[str, Any]]:
    return [blank_line(f"l{n}", speaker.pk) | {"text": "Good morning."} for n in range(count)]


def _invoice(api: Api, months_ago: int) -> Invoice:
    month = Month.containing(timezone.now(), "UTC")
    for _ in range(months_ago):
        month = month.before()
    return Invoice.objects.create(
        tenant=api.tenant,
        month=month.name,
        period_start=month.start,
        period_end=month.end,
        time_zone="UTC",
        currency="USD",
        language="en",
        buyer={"name": "Alder"},
        seller={"name": "VoiceReel", "country": "KR"},
        pays_by="transfer",
    )


def _comparison(api: Api, job_id: str, speaker: Speaker) -> Comparison:
    """Whose variants were rendered by the one job."""
    made = Comparison.objects.create(tenant=api.tenant, title="Which?", texts=["One."])
    for position in (0, 1):
        Variant.objects.create(
            tenant=api.tenant,
            comparison=made,
            position=position,
            label=speaker.name,
            speaker=speaker,
            speed=1.0,
            job_id=job_id,
        )
    return made


def _grow(api: Api, paths: dict[str, str], make_speaker: Callable[..., Speaker]) -> None:
    """Thirty of each."""
    now = timezone.now()
    for number in range(30):
        speaker = make_speaker(api, f"Speaker {number}")
        issue_key(api.tenant, label=f"Key {number}")
        WebhookEndpoint.objects.create(
            tenant=api.tenant, url=f"https://{number}.example/", secret=b"sealed"
        )
        person = make_person(f"person{number}@alder.example")
        Membership.objects.create(tenant=api.tenant, user=person, role="viewer")
        start_draft(api.tenant, f"Draft {number}", _lines(speaker, 3))
        audit.record(api.tenant.pk, "key.created", f"key {number}")
        record_usage(
            api.tenant,
            [Measurement("audio_ms", 1_000, speaker.pk)],
            source=f"grown:{number}",
            api_key_id=f"key_{number}",
            project=f"project {number}",
            occurred_at=now - timedelta(minutes=number),
        )
        if number:
            _invoice(api, number)
        _comparison(api, paths["job"].rpartition("/")[2], speaker)
    template = Job.objects.get(pk=paths["job"].rpartition("/")[2])
    lines = list(Line.objects.filter(job=template))
    for _ in range(30):
        template.pk = None
        template.id = Job._meta.get_field("id").get_default()
        template.save(force_insert=True)
    # The job and the draft that are shown are longer too.
    shown = Job.objects.get(pk=paths["job"].rpartition("/")[2])
    for number in range(30):
        line = lines[0]
        line.pk, line.position, line.line_id = None, 100 + number, f"more {number}"
        line.speaker = make_speaker(api, f"Of a line {number}")
        line.save(force_insert=True)
    Job.objects.filter(pk=shown.pk).update(lines_total=32, lines_done=32)
    Draft.objects.filter(pk=paths["draft"].rpartition("/")[2]).update(
        lines=_lines(make_speaker(api, "Of the draft"), 40)
    )


def _counted(browser: Browser, paths: dict[str, str]) -> Iterator[tuple[str, int]]:
    for name in PAGES:
        path = paths.get(name, name)
        browser.get(path)  # what a first request finds out
        backlog.last_seen.forget()  # or it depends on how long ago that was
        with CaptureQueriesContext(connection) as queries:
            reply = browser.get(path)
        assert reply.status_code == 200, path
        yield name, len(queries)


def test_a_page_asks_the_same_however_much_there_is(
    alder: Api,
    browser: Browser,
    paths: dict[str, str],
    make_speaker: Callable[..., Speaker],
) -> None:
    account_of(alder.tenant, timezone.now())
    few = dict(_counted(browser, paths))
    _grow(alder, paths, make_speaker)
    many = dict(_counted(browser, paths))
    assert many == few
    assert {name: count for name, count in many.items() if count > PAGES[name]} == {}
