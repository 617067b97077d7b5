"""Operators' commands of billing."""

import csv
import io
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import Tenant
from billing.models import Price
from tests.billing.conftest import account, at, lines_of

Make: TypeAlias = Callable[..., Any]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_the_month_is_closed_by_one_command_and_journalled(
    customer: Make, use: Make, clock: Any
) -> None:
    alder = customer("2026-03-01T00:00Z")
    use(alder, "2026-03-10T10:00Z", 10)
    clock.move_to(at("2026-04-01T10:00Z"))
    shown = run("monthly_close")
    assert "0 mismatches" in shown
    assert "$1.50 in its grace period  Alder" in shown
    clock.move_to(at("2026-04-03T10:00Z"))
    assert "1 finalized\n  VR2026-000001 $1.50" in run("monthly_close", "--finalize")
    clock.shift(60)
    assert "CN2026-000001: $0.50 of VR2026-000001." in run(
        "correct_invoice", "VR2026-000001", "credit", "Noise", "--amount", "0.50"
    )
    with pytest.raises(CommandError, match=r"\$1.00 of this invoice are left"):
        run("correct_invoice", "VR2026-000001", "credit", "Noise", "--amount", "1.01")
    with pytest.raises(CommandError, match="Issue a credit note instead"):
        run("correct_invoice", "VR2026-000001", "void", "Wrong")
    rows = list(csv.DictReader(io.StringIO(run("billing_journal", "2026-04"))))
    assert [(row["kind"], row["number"], row["total"]) for row in rows] == [
        ("invoice", "VR2026-000001", "1.50"),
        ("credit_note", "CN2026-000001", "-0.50"),
    ]
    assert rows[1]["reference"] == "VR2026-000001"


def test_a_new_price_holds_from_the_next_part_of_a_month_on(
    customer: Make, use: Make, close: Make, clock: Any
) -> None:
    alder = customer("2026-03-01T00:00Z")
    run("set_price", "standard", "USD", "--from", "2026-03-15T00:00:00+00:00", "--tier", "=20")
    run(
        *(
            "set_price",
            "standard",
            "USD",
            "--from",
            "2026-04-01T00:00:00+00:00",
            "--base-fee",
            "500",
        ),
        *("--included", "5", "--tier", "10=10", "--tier", "=8", "--tenant", alder.tenant.pk),
    )
    use(alder, "2026-03-20T10:00Z", 10)
    [march] = close("2026-04")
    assert march.total_minor == 150  # what was in force when March began
    use(alder, "2026-04-20T10:00Z", 17)
    [april] = close("2026-05")
    # Its own: $5, five minutes included, ten at 10 c, two at 8 c.
    assert [amount for _, _, amount in lines_of(april)] == [500, 116]
    with pytest.raises(CommandError, match="begins now or later"):
        run("set_price", "standard", "USD", "--from", "2026-04-01T00:00:00+00:00", "--tier", "=1")
    for tiers in (
        ["=1", "--tier", "=2"],
        ["10=1"],
        ["x=1"],
        ["20=1", "--tier", "10=1", "--tier", "=1"],
    ):
        with pytest.raises(CommandError):
            run(
                "set_price",
                "standard",
                "USD",
                "--from",
                "2027-01-01T00:00:00+00:00",
                "--tier",
                *tiers,
            )
    assert Price.objects.filter(tenant=alder.tenant).count() == 1


def test_credits_and_plans_are_given_by_command(customer: Make, use: Make, close: Make) -> None:
    alder = customer("2026-03-01T00:00Z")
    assert "$1.00 for Alder" in run("grant_credit", alder.tenant.pk, "1.00", "USD", "Sorry")
    with pytest.raises(CommandError, match="no amount of KRW"):
        run("grant_credit", alder.tenant.pk, "1.50", "KRW", "Sorry")
    assert "business from 2026-04-01" in run(
        "set_plan", alder.tenant.pk, "business", "--next-month"
    )
    assert Tenant.objects.get().plan == "standard"
    use(alder, "2026-03-10T10:00Z", 10)
    [march] = close("2026-04")
    assert march.total_minor == 50
    from billing.plan_changes import apply_plans

    assert apply_plans() == 1
    assert Tenant.objects.get().plan == "business"
    assert alder.get("/v1/billing").json()["plan"] == "business"
    assert account(alder).base_fee_minor == 9_900
