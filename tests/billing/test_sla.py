"""What was promised and what was kept: known outages give the exact availability, and the credit for it."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client

from accounts import traffic as traffic_module
from accounts.models import AuditEvent, RequestCount, ServiceInterval, Tenant, User
from accounts.traffic import Traffic, add_to_interval, interval_start
from billing.accounts import account_of
from billing.closing import draft_last_month
from billing.models import Credit, Invoice, ServiceCredit
from billing.periods import Month
from billing.sla import (
    TARGET,
    decide,
    decimal_of,
    percent_of,
    promised,
    service_level,
)
from synthesis import rendering
from synthesis.backlog import last_seen
from synthesis.models import Backlog, Job
from tests.conftest import Api, log_in

pytestmark = pytest.mark.django_db
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CLOSE = "/admin/billing/invoice/close"


def be_there(
    start: datetime, end: datetime, *, away: Iterable[tuple[datetime, datetime]] = ()
) -> None:
    """Web processes ran from start to end, but for some minutes."""
    gaps = list(away)
    minutes = []
    at = start
    while at < end:
        if not any(begins <= at < ends for begins, ends in gaps):
            minutes.append(RequestCount(minute=at))
        at += MINUTE
    RequestCount.objects.bulk_create(minutes, batch_size=1000)


@pytest.fixture
def old(alder: Api) -> Tenant:
    """Alder, there since October."""
    Tenant.objects.filter(pk=alder.tenant.pk).update(created_at=NOVEMBER - timedelta(days=20))
    alder.tenant.refresh_from_db()
    account_of(alder.tenant, NOVEMBER)
    return alder.tenant


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return NOVEMBER + timedelta(days=day - 1, hours=hour, minutes=minute)


def test_a_month_without_a_fault_is_whole(old: Tenant) -> None:
    with time_machine.travel(at(3, 12, 2), tick=False):
        be_there(at(1), at(3, 12))
        add_to_interval(old.pk, at(2), requests=1000)
        level = service_level(old, Month(2026, 11, "UTC"))
    assert level.availability == 1
    assert (level.requests, level.failures, level.affected) == (1000, 0, 0)
    assert sum(level.intervals.values()) == 2.5 * 288
    assert level.credit_percent == 0
    assert level.until == at(3, 12)


def test_known_outages_give_the_exact_share(old: Tenant) -> None:
    """Twelve minutes away, from the middle of an interval; then failures of this tenant's own."""
    be_there(at(1), at(31), away=[(at(10, 4, 3), at(10, 4, 15))])
    # Three intervals are touched: 2, 5 and 5 of their five minutes.
    away = Fraction(2, 5) + 1 + 1
    # Failures beside: a third of an interval's requests, and fewer than the outage took of another.
    add_to_interval(old.pk, at(20, 1), requests=30, failures=10)
    add_to_interval(old.pk, at(10, 4), requests=10, failures=1)
    add_to_interval(old.pk, at(21), requests=500)
    with time_machine.travel(at(31) + timedelta(hours=3), tick=False):
        level = service_level(old, Month(2026, 11, "UTC"))
    intervals = 30 * 288
    assert sum(level.intervals.values()) == intervals
    assert level.availability == 1 - (away + Fraction(1, 3)) / intervals
    assert level.affected == 4
    assert level.availability_on(date(2026, 11, 10)) == 1 - away / 288
    assert level.availability_on(date(2026, 11, 9)) == 1
    assert (level.requests, level.failures) == (540, 11)
    # 99.968 %: above what was promised.
    assert level.availability > TARGET
    assert level.credit_percent == 0


@pytest.mark.parametrize(
    ("minutes", "percent"), [(43, 0), (44, 10), (431, 10), (433, 25), (2159, 25), (2161, 50)]
)
def test_tiers_begin_where_they_say(old: Tenant, minutes: int, percent: int) -> None:
    """Of 43,200 minutes: 43.2 are 0.1 %, 432 are 1 %, 2,160 are 5 %."""
    be_there(at(1), at(31), away=[(at(5), at(5) + minutes * MINUTE)])
    with time_machine.travel(at(31) + timedelta(hours=3), tick=False):
        level = service_level(old, Month(2026, 11, "UTC"))
    assert level.availability == 1 - Fraction(minutes, 43_200)
    assert level.credit_percent == percent


def test_days_are_those_of_the_billing_zone(old: Tenant) -> None:
    """In Seoul the 2nd begins nine hours earlier."""
    be_there(at(1), at(4), away=[(at(1, 16), at(1, 17))])
    with time_machine.travel(at(4), tick=False):
        level = service_level(old, Month(2026, 11, "Asia/Seoul"))
    assert level.availability_on(date(2026, 11, 2)) == 1 - Fraction(12, 288)
    assert level.availability_on(date(2026, 11, 1)) == 1


def test_before_a_tenant_or_the_service_was_there_nothing_was_away(old: Tenant) -> None:
    be_there(at(5), at(6))
    with time_machine.travel(at(6) + 2 * MINUTE, tick=False):
        level = service_level(old, Month(2026, 11, "UTC"))
        assert (sum(level.intervals.values()), level.availability) == (288, 1)
        Tenant.objects.filter(pk=old.pk).update(created_at=at(5, 23, 58))
        old.refresh_from_db()
        level = service_level(old, Month(2026, 11, "UTC"))
    assert (level.intervals, level.availability, level.credit_percent) == ({}, None, 0)


def test_late_jobs_count_once_there_are_enough(old: Tenant) -> None:
    be_there(at(1), at(31))
    add_to_interval(old.pk, at(7), jobs=99, jobs_late=5)
    month = Month(2026, 11, "UTC")
    with time_machine.travel(at(31) + timedelta(hours=3), tick=False):
        level = service_level(old, month)
        assert (level.on_time, level.credit_percent) == (Fraction(94, 99), 0)
        add_to_interval(old.pk, at(8), jobs=1)
        level = service_level(old, month)
        assert (level.on_time, level.credit_percent) == (Fraction(95, 100), 25)


@pytest.fixture
def short(
    customer: Callable[..., Api], use: Callable[..., Any], clock: Any
) -> tuple[Api, Callable[[], ServiceCredit | None]]:
    """A customer whose March was available for all but an hour, and its closing."""
    api = customer("2026-02-20T00:00+00:00", currency="USD")
    march, april = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    begins = march + timedelta(days=5, minutes=30)
    be_there(march, april, away=[(begins, begins + timedelta(hours=1))])
    use(api, "2026-03-10T12:00+00:00", minutes=600)

    def draft() -> ServiceCredit | None:
        clock.move_to(april + timedelta(hours=1))
        draft_last_month()
        return ServiceCredit.objects.first()

    return api, draft


def test_a_month_that_fell_short_proposes_a_credit_that_the_invoice_has_once_granted(
    short: tuple[Api, Callable[[], ServiceCredit | None]],
    close: Callable[..., list[Invoice]],
    use: Callable[..., Any],
) -> None:
    api, draft = short
    row = draft()
    assert row is not None
    draft_invoice_before = Invoice.objects.get(month="2026-03")
    assert row.availability == decimal_of(1 - Fraction(60, 31 * 1440))
    assert (row.percent, row.status, row.base_minor) == (
        10,
        "proposed",
        draft_invoice_before.net_minor,
    )
    assert row.amount_minor == row.base_minor * 10 // 100 > 0
    shown = api.get("/v1/sla?month=2026-03").json()
    assert shown["availability"]["percent"] == "99.865591"
    assert shown["credit"] == {
        "percent": 10,
        "amount_minor": row.amount_minor,
        "currency": "USD",
        "status": "proposed",
    }
    # Drafted again it is the same one.
    assert draft() == row
    assert not Credit.objects.exists()
    assert decide(row, grant=True)
    assert not decide(row, grant=False)
    credit = Credit.objects.get()
    assert (credit.amount_minor, credit.reason) == (
        row.amount_minor,
        "Service level of 2026-03: 10 % of the month",
    )
    assert AuditEvent.objects.filter(action="service_credit.granted").count() == 1
    assert draft().status == "granted"  # type: ignore[union-attr]
    # March is as it was; what comes next is worth less.
    (invoice,) = close("2026-04")
    assert invoice.net_minor == row.base_minor
    use(api, "2026-04-10T12:00+00:00", minutes=600)
    (invoice,) = close("2026-05")
    assert invoice.net_minor == row.base_minor - row.amount_minor
    assert api.get("/v1/sla?month=2026-03").json()["credit"]["status"] == "granted"


def test_what_is_declined_stays_declined(
    short: tuple[Api, Callable[[], ServiceCredit | None]],
) -> None:
    _, draft = short
    row = draft()
    assert row is not None
    assert decide(row, grant=False)
    assert draft().status == "declined"  # type: ignore[union-attr]
    assert not Credit.objects.exists()


def test_an_operator_decides_in_the_monthly_close(
    short: tuple[Api, Callable[[], ServiceCredit | None]], operator: User
) -> None:
    api, draft = short
    row = draft()
    assert row is not None
    browser = log_in(operator, second_factor=True)
    shown = browser.get(CLOSE).content.decode()
    assert "99.865591 %" in shown
    assert row.pk in shown
    assert browser.send(CLOSE, do="grant", subject="sla_nothing").status_code == 404
    assert browser.send(CLOSE, do="grant", subject=row.pk).status_code == 302
    shown = browser.get(CLOSE).content.decode()
    assert "Granted. The next invoice has it." in shown
    assert row.pk not in shown
    browser.send(CLOSE, do="decline", subject=row.pk)
    assert "It was decided before." in browser.get(CLOSE).content.decode()
    assert Credit.objects.get().amount_minor == row.amount_minor
    usage = browser.get(f"/admin/billing/billingaccount/{api.tenant.pk}/usage?month=2026-03")
    assert "99.865591 %" in usage.content.decode()


def test_a_whole_month_proposes_nothing(
    customer: Callable[..., Api], use: Callable[..., Any], clock: Any
) -> None:
    api = customer("2026-02-20T00:00+00:00")
    be_there(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    use(api, "2026-03-10T12:00+00:00", minutes=600)
    clock.move_to(datetime(2026, 4, 1, 1, tzinfo=UTC))
    assert draft_last_month() == 1
    assert not ServiceCredit.objects.exists()


def test_requests_are_counted_by_tenant_and_added_once(
    alder: Api, birch: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Traffic()
    monkeypatch.setattr(traffic_module, "traffic", own)
    alder.get("/v1/jobs")
    birch.get("/v1/jobs")
    Client().get("/v1/jobs")  # nobody's
    monkeypatch.setattr("synthesis.api.JobListView.get", lambda *_: 1 / 0)
    assert alder.get("/v1/jobs").status_code == 500
    own.add_of_tenants()
    own.add_of_tenants()
    rows = ServiceInterval.objects.values_list("tenant", "requests", "failures")
    assert sorted(rows) == sorted([(alder.tenant.pk, 2, 1), (birch.tenant.pk, 1, 0)])
    alder.get("/v1/speakers")
    own.add_of_tenants()
    assert ServiceInterval.objects.for_tenant(alder.tenant).get().requests == 3


def test_what_could_not_be_added_is_added_later(
    alder: Api, birch: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Traffic()
    own.count(200, alder.tenant.pk)
    own.count(500, birch.tenant.pk)
    with monkeypatch.context() as broken:
        broken.setattr(traffic_module, "add_to_interval", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            own.add_of_tenants()
    own.count(200, birch.tenant.pk)
    own.add_of_tenants()
    assert ServiceInterval.objects.for_tenant(alder.tenant).get().requests == 1
    row = ServiceInterval.objects.for_tenant(birch.tenant).get()
    assert (row.requests, row.failures) == (2, 1)


def test_a_minute_without_requests_is_one_in_which_we_were_there(db: None) -> None:
    own = Traffic()
    own.be_seen()
    own.be_seen()
    own.add()
    row = RequestCount.objects.get()
    assert (row.requests, row.failures) == (0, 0)
    own.count(200)
    own.add()
    assert RequestCount.objects.get().requests == 1


def test_jobs_are_counted_by_what_was_promised(
    alder: Api, submit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert promised(30_000) == timedelta(minutes=2)

    def job(**changes: Any) -> Job:
        claimed = rendering.claim_job(alder.tenant.pk, submit(alder)["id"])
        assert claimed is not None
        Job.objects.filter(pk=claimed.pk).update(**changes)
        for name, value in changes.items():
            setattr(claimed, name, value)
        return claimed

    rendering.render(job())
    rendering.render(job(started_at=datetime.now(UTC) - timedelta(minutes=5)))
    rendering.fail_job(job(), "line_failed", "ours")
    rendering.fail_job(job(), "speaker_not_found", "the customer's")
    rendering.render(job(live=False))
    rows = ServiceInterval.objects.for_tenant(alder.tenant)
    assert sum(rows.values_list("jobs", flat=True)) == 3
    assert sum(rows.values_list("jobs_late", flat=True)) == 2


def test_the_api_and_the_page_say_the_same(
    alder: Api, birch: Api, old: Tenant, make_member: Callable[..., Any]
) -> None:
    add_to_interval(birch.tenant.pk, at(2), requests=10, failures=10)
    be_there(at(1), at(3), away=[(at(2), at(2, 0, 5))])
    with time_machine.travel(at(3, 0, 2), tick=False):
        shown = alder.get("/v1/sla").json()
        page = make_member(alder).get("/service").content.decode()
        assert alder.get("/v1/sla?month=2026-09").status_code == 404
        assert alder.get("/v1/sla?month=2026-13").json()["code"] == "not_found"
        assert alder.get("/v1/sla?moth=2026-11").status_code == 422
    assert shown["availability"]["percent"] == "99.826388"
    assert shown["availability"]["affected_intervals"] == 1
    assert shown["availability"]["failures"] == 0
    assert [day["percent"] for day in shown["days"]] == ["100", "99.652777"]
    assert "99.826388 %" in page
    assert "<strong>99.652777 %</strong>" in page


def test_everybody_sees_the_status(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    be_there(
        now - timedelta(minutes=100),
        now,
        away=[(now - timedelta(minutes=51), now - timedelta(minutes=1))],
    )
    cache.clear()
    page = Client().get("/status").content.decode()
    # Nobody hands jobs to workers in this test.
    assert "Something does not work" in page
    assert re.search(r"Speech</td><td><span class=\"tag bad\">does not answer", page)
    assert 'API and pages</td><td><span class="tag good">works' in page
    # It is remembered for half a minute.
    monkeypatch.setattr("voicereel_site.status.look", lambda: 1 / 0)
    assert Client().get("/status").status_code == 200
    cache.clear()
    Backlog.objects.create(lines=0, measured_at=datetime.now(UTC))
    last_seen.forget()
    monkeypatch.undo()
    assert "Everything works" in Client().get("/status").content.decode()
    assert Client().post("/status").status_code == 405


def test_shares_are_shown_exactly_and_never_rounded_up() -> None:
    assert percent_of(Fraction(1)) == "100"
    assert percent_of(TARGET) == "99.9"
    assert percent_of(Fraction(2, 3)) == "66.666666"
    assert percent_of(1 - Fraction(1, 10**11)) == "99.999999"
    assert percent_of(None) is None
    assert decimal_of(Fraction(1, 3)) == Decimal("0.3333333333")


def test_intervals_are_of_five_minutes() -> None:
    assert interval_start(at(2, 3, 14)) == at(2, 3, 10)
    assert interval_start(at(2, 3, 15)) == at(2, 3, 15)
