"""Months that go by within a test: a clock that is moved, and usage without the work."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.db import transaction

from accounts.models import Tenant
from accounts.plans import Plan
from billing.accounts import change_plan
from billing.closing import close_month, draft_last_month
from billing.models import BillingAccount, Invoice
from billing.plan_changes import apply_plans
from billing.usage import Charge, Measurement, record_usage
from tests.conftest import Api, _api

MINUTE = 60_000


@pytest.fixture
def clock() -> Iterator[Any]:
    """Where the clock is moved: ``clock.move_to("2026-03-10T12:00Z")``."""
    with time_machine.travel(datetime(2026, 3, 10, 12, tzinfo=UTC), tick=False) as moved:
        yield moved


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.fixture
def customer(db: None, clock: Any) -> Callable[..., Api]:
    """A tenant that signs up at an instant, with a plan and what its billing account says."""

    def make(when: str, plan: str = Plan.STANDARD, **account: Any) -> Api:
        clock.move_to(at(when))
        api = _api("Alder")
        Tenant.objects.filter(pk=api.tenant.pk).update(plan=plan)
        api.tenant.refresh_from_db()
        reply = api.patch("/v1/billing", account)
        assert reply.status_code == 200, reply.json()
        return api

    return make


@pytest.fixture
def use(clock: Any) -> Callable[..., Charge]:
    """Audio that was made at an instant, as a finished job writes it down, now or later."""
    count = iter(range(1_000_000))

    def record(
        api: Api, when: str, minutes: float = 0.0, *, ms: int = 0, reported: str = ""
    ) -> Charge:
        occurred_at = at(when)
        clock.move_to(at(reported or when))
        with transaction.atomic():
            return record_usage(
                api.tenant,
                [Measurement("audio_ms", round(minutes * MINUTE) + ms, "spk_1")],
                source=f"job:{next(count)}",
                occurred_at=occurred_at,
                api_key_id=api.key.pk,
            )

    return record


@pytest.fixture
def switch(clock: Any) -> Callable[..., None]:
    """Another plan from an instant on."""

    def change(api: Api, when: str, plan: str) -> None:
        clock.move_to(at(when))
        with transaction.atomic():
            change_plan(api.tenant, plan, at(when))
        apply_plans()

    return change


@pytest.fixture
def close(clock: Any) -> Callable[..., list[Invoice]]:
    """What beat does at the start of a month and after the grace period. Returns what was finalized."""

    def run(month_after: str, zone_hours: int = 0) -> list[Invoice]:
        clock.move_to(at(f"{month_after}-01T01:00:00+00:00"))
        draft_last_month()
        clock.move_to(at(f"{month_after}-03T01:00:00+00:00"))
        return close_month().finalized

    return run


def lines_of(invoice: Invoice) -> list[tuple[str, int, int]]:
    """Kind, milliseconds and minor units of each line."""
    return [(line.kind, line.quantity_ms, line.amount_minor) for line in invoice.lines.all()]


def account(api: Api) -> BillingAccount:
    row: BillingAccount = BillingAccount.objects.for_tenant(api.tenant).get()
    return row
