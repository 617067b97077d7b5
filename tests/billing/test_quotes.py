"""A price before the run, and ends that hold."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from django.core import mail

from accounts.models import WebhookDelivery, WebhookEndpoint
from accounts.outbox import relay
from billing.models import UsageEvent
from billing.quotas import watch_spending
from synthesis.engines.base import Length
from synthesis.engines.tone import ToneEngine
from synthesis.models import Job
from tests.billing.conftest import MINUTE, account, at
from tests.conftest import Api

Make: TypeAlias = Callable[..., Any]


def body_of(api: Api, make_speaker: Make, *texts: str, **fields: Any) -> dict[str, Any]:
    speaker = make_speaker(api)
    return {"script": [{"speaker_id": speaker.pk, "text": text} for text in texts], **fields}


def test_a_dry_run_tells_length_and_price_and_makes_nothing(
    customer: Make, make_speaker: Make, render: Make
) -> None:
    alder = customer("2026-03-01T00:00Z", country="KR")
    body = body_of(alder, make_speaker, "x" * 1_000, "y" * 1_000)
    preview = alder.post("/v1/synthesize?dry_run=true", body)
    assert preview.status_code == 200
    shown = preview.json()
    assert shown["valid"]
    assert shown["errors"] == []
    # 2,000 characters of 60 ms, 300 ms between the lines and 200 at the end: 120.5 s; 200 won a minute.
    assert shown["predicted_duration_ms"] == 120_500
    assert shown["highest_price"] == {"amount_minor": 402, "currency": "KRW"}
    assert not Job.objects.exists()
    made = alder.post("/v1/synthesize", body).json()
    assert made["highest_price"] == shown["highest_price"]
    render(made["id"])
    job = alder.get(f"/v1/jobs/{made['id']}").json()
    assert job["audio"]["duration_ms"] == 120_500
    # 120.5 s x 200 won / 60 s
    assert job["cost"] == {
        "amount_minor": 402,
        "currency": "KRW",
        "exact_minor": "401.666666666667",
    }


def test_a_dry_run_tells_all_that_is_wrong(customer: Make, make_speaker: Make) -> None:
    alder = customer("2026-03-01T00:00Z")
    body = body_of(alder, make_speaker, "Hello.")
    body["script"] += [{"speaker_id": "spk_0", "text": "Hi.", "id": "two"}]
    shown = alder.post("/v1/synthesize?dry_run=true", body).json()
    assert (shown["valid"], shown["code"]) == (False, "speaker_not_found")
    assert [(error["pointer"], error["line_id"]) for error in shown["errors"]] == [
        ("/script/1/speaker_id", "two")
    ]
    assert shown["predicted_duration_ms"] > 0
    assert alder.post("/v1/synthesize?dry_run=perhaps", body).status_code == 422
    assert alder.post("/v1/synthesize?dry=1", body).status_code == 422


def test_max_cost_stops_before_any_engine_call(
    customer: Make, make_speaker: Make, monkeypatch: Any
) -> None:
    alder = customer("2026-03-01T00:00Z")
    body = body_of(alder, make_speaker, "x" * 1_000)  # a minute and a bit: 16 c at most
    called: list[Any] = []
    monkeypatch.setattr(ToneEngine, "speak", lambda *args: called.append(args))
    refused = alder.post("/v1/synthesize", {**body, "max_cost_minor": 15})
    assert (refused.status_code, refused.json()["code"]) == (402, "cost_limit_exceeded")
    assert refused.json()["errors"][0]["pointer"] == "/max_cost_minor"
    preview = alder.post("/v1/synthesize?dry_run=true", {**body, "max_cost_minor": 15}).json()
    assert (preview["valid"], preview["code"]) == (False, "cost_limit_exceeded")
    assert alder.post("/v1/synthesize", {**body, "max_cost_minor": 16}).status_code == 202
    assert called == []
    assert Job.objects.count() == 1


def test_a_cap_counts_what_is_under_way_and_holds(
    customer: Make, make_speaker: Make, render: Make
) -> None:
    alder = customer("2026-03-01T00:00Z", cap_minor=40)
    body = body_of(alder, make_speaker, "x" * 1_000)  # 60.2 s: 15.05 c
    jobs = [alder.post("/v1/synthesize", body).json()["id"] for _ in range(2)]
    refused = alder.post("/v1/synthesize", body)
    assert (refused.status_code, refused.json()["code"]) == (402, "quota_exceeded")
    assert "Your limit for a month is $0.40; $0.00 are spent" in refused.json()["detail"]
    # A canceled one is under way no more.
    alder.post(f"/v1/jobs/{jobs[0]}/cancel")
    third = alder.post("/v1/synthesize", body)
    assert third.status_code == 202
    assert alder.post(f"/v1/jobs/{jobs[0]}/retry").status_code == 402
    for job_id in (jobs[1], third.json()["id"]):
        render(job_id)
    assert account(alder).audio_ms == 2 * 60_200
    assert alder.get("/v1/billing").json()["running"]["spent_minor"] == 31  # 30.1, rounded up
    assert alder.patch("/v1/billing", {"cap_minor": 50}).status_code == 200
    assert alder.post("/v1/synthesize", body).status_code == 202


def test_of_simultaneous_requests_no_more_are_taken_than_the_cap_has_room_for(
    customer: Make, make_speaker: Make
) -> None:
    alder = customer("2026-03-01T00:00Z", cap_minor=100)
    body = body_of(alder, make_speaker, "x" * 1_000)
    statuses = [alder.post("/v1/synthesize", body).status_code for _ in range(10)]
    # 100 c / 15.05 c
    assert statuses == [202] * 6 + [402] * 4


def test_a_test_key_pays_nothing_and_no_cap_holds_it(customer: Make, make_speaker: Make) -> None:
    from accounts.keys import issue_key

    alder = customer("2026-03-01T00:00Z", cap_minor=0)
    row, secret, _ = issue_key(alder.tenant, live=False)
    body = body_of(alder, make_speaker, "x" * 1_000)
    assert alder.post("/v1/synthesize", body).status_code == 402
    made = Api(alder.tenant, row, secret).post("/v1/synthesize", body)
    assert made.status_code == 202
    assert (made.json()["highest_price"], made.json()["cost"]) == (None, None)


def test_nobody_pays_for_audio_beyond_the_quote(
    customer: Make, submit: Make, render: Make, monkeypatch: Any, close: Make
) -> None:
    alder = customer("2026-03-01T00:00Z")
    monkeypatch.setattr(ToneEngine, "foreseen_ms", lambda *args: Length(500, 1_000))
    job = submit(alder, "x" * 1_000)
    render(job["id"])
    shown = alder.get(f"/v1/jobs/{job['id']}").json()
    assert shown["audio"]["duration_ms"] == 60_200
    assert shown["cost"]["exact_minor"] == "0.3"  # 1.2 s x 15 c / 60 s
    assert shown["cost"]["amount_minor"] <= shown["highest_price"]["amount_minor"]
    events = UsageEvent.objects.filter(meter="audio_ms").values_list("quantity", flat=True)
    assert sorted(events) == [-59_000, 60_200]
    [invoice] = close("2026-04")
    assert invoice.lines.get().quantity_ms == 1_200


def test_thresholds_are_told_once_by_webhook_and_mail(
    customer: Make, use: Make, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    alder = customer("2026-03-01T00:00Z", cap_minor=1_000, email="books@alder.example")
    WebhookEndpoint.objects.create(tenant=alder.tenant, url="https://hooks.example/", secret=b"s")
    told = []
    for minutes in (30, 4, 1, 19, 14, 1):  # 450, 510, 525, 810, 1,020 and 1,035 cents
        use(alder, "2026-03-10T10:00Z", minutes)
        watch_spending()
        watch_spending()
        told.append(WebhookDelivery.objects.filter(event="usage.threshold_reached").count())
    assert told == [0, 1, 1, 2, 3, 3]
    while relay():  # one address's mails leave one after another
        pass
    assert [one.subject for one in mail.outbox] == [
        f"VoiceReel: {percent} % of your limit is used" for percent in (50, 80, 100)
    ]
    # A new month begins with nothing spent.
    use(alder, "2026-04-02T10:00Z", 40)
    assert watch_spending() == 1


def test_what_may_be_changed_of_an_account_and_what_is_too_late(
    customer: Make, use: Make, close: Make
) -> None:
    alder = customer("2026-03-01T00:00Z", plan="business")
    assert alder.patch("/v1/billing", {"currency": "EUR"}).json()["currency"] == "EUR"
    assert account(alder).base_fee_minor == 8_900
    use(alder, "2026-03-31T20:00Z", 5)
    late = alder.patch("/v1/billing", {"currency": "USD"})
    assert (late.status_code, late.json()["errors"][0]["pointer"]) == (409, "/currency")
    # It is April in Seoul already, and March's part begins anew in its zone.
    assert alder.patch("/v1/billing", {"time_zone": "Asia/Seoul"}).status_code == 200
    shown = alder.get("/v1/billing").json()["running"]
    assert (shown["month"], shown["audio_ms"]) == ("2026-04", 5 * MINUTE)
    for wrong in (
        {"time_zone": "Mars/Olympus"},
        {"cap_minor": -1},
        {"country": "Korea"},
        {"plan": "x"},
    ):
        assert alder.patch("/v1/billing", wrong).status_code == 422, wrong
    close("2026-05")
    late = alder.patch("/v1/billing", {"time_zone": "UTC"})
    assert (late.status_code, late.json()["errors"][0]["pointer"]) == (409, "/time_zone")


def test_reports_come_as_json_csv_and_pdf(customer: Make, use: Make, clock: Any) -> None:
    alder = customer("2026-03-01T00:00Z")
    use(alder, "2026-03-10T10:00Z", 10)
    clock.move_to(at("2026-04-01T10:00Z"))
    report = alder.get("/v1/usage/reports/2026-03").json()
    assert (report["is_over"], report["net_minor"]) == (True, 150)
    assert report["by_key"][0]["api_key_id"] == alder.key.pk
    table = alder.get("/v1/usage/reports/2026-03/csv")
    assert table["Content-Type"] == "text/csv"
    assert "day,2026-03-10,600000,0,0,UTC" in table.content.decode()
    assert alder.get("/v1/usage/reports/2026-03/pdf").content.startswith(b"%PDF-")
    for unknown in ("2026-02", "2026-05", "2026-13", "March"):
        assert alder.get(f"/v1/usage/reports/{unknown}").status_code == 404


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x"])
def test_no_cell_of_a_csv_is_a_formula(alder: Api, submit: Make, render: Make, text: str) -> None:
    from django.utils import timezone

    job = submit(alder, "Hello.", metadata={"project": text})
    render(job["id"])
    table = alder.get(f"/v1/usage/reports/{timezone.now():%Y-%m}/csv").content.decode()
    assert f"project,'{text}" in table
