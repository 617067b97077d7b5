"""What Korea asks for: numbers that check themselves, tax invoices by others, money by transfer."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from billing.invoicing import credit_invoice
from billing.models import Invoice, Payment, UnmatchedDeposit
from billing.tax_invoices import TaxInvoice, issue, tax_invoice_of
from billing.taxes import business_number, tax_of
from tests.billing.conftest import at

Make: TypeAlias = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # The National Tax Service's rule, reckoned by hand: 1 6 21 4 15 42 7 24 45 + 4 = 169, so 1.
        ("123-45-67891", "123-45-67891"),
        ("1234567891", "123-45-67891"),
        (" 123-45-67891 ", "123-45-67891"),
        ("123-45-67890", None),
        ("123-45-6789", None),
        ("123-45-678910", None),
        ("abc-de-fghij", None),
        ("", None),
    ],
)
def test_a_business_number_checks_itself(text: str, found: str | None) -> None:
    assert business_number(text) == found


def test_every_other_last_digit_is_refused() -> None:
    right = [digit for digit in range(10) if business_number(f"220-81-6251{digit}")]
    assert len(right) == 1


@pytest.mark.parametrize(
    ("amounts", "buyer", "expected"),
    [
        ([(10_000, False)], "KR", (10_000, 1_000)),
        ([(19, False)], "KR", (19, 1)),  # 1.9 won
        ([(9, False)], "KR", (9, 0)),
        ([(11_000, True)], "KR", (10_000, 1_000)),
        ([(10_999, True)], "KR", (10_000, 999)),  # 999.9 won
        ([(10_000, False), (1_100, True)], "KR", (11_000, 1_100)),
        ([(10_000, False)], "US", (10_000, 0)),
        ([(10_000, False)], "", (10_000, 0)),
    ],
)
def test_vat(amounts: Any, buyer: str, expected: tuple[int, int]) -> None:
    tax = tax_of(amounts, seller="KR", buyer=buyer)
    assert (tax.net_minor, tax.tax_minor) == expected
    assert tax.note == ("domestic" if buyer == "KR" else "zero_rated")


COMPANY = {
    "country": "KR",
    "legal_name": "알더 스튜디오",
    "tax_id": "1234567891",
    "representative": "김철수",
    "business_type": "정보통신업",
    "business_item": "오디오 제작",
    "address": "서울특별시 중구 세종대로 110",
    "email": "tax@alder.example",
}


@pytest.fixture
def korean(customer: Make, use: Make, close: Make) -> Invoice:
    """A finalized invoice of a Korean company's: 10,000 won and VAT."""
    alder = customer("2026-03-01T00:00Z", **COMPANY)
    use(alder, "2026-03-10T10:00Z", 50)
    invoice: Invoice
    [invoice] = close("2026-04")
    return invoice


def test_a_wrong_number_is_refused_where_it_is_given(customer: Make) -> None:
    alder = customer("2026-03-01T00:00Z", country="KR")
    refused = alder.patch("/v1/billing", {"tax_id": "123-45-67890"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/tax_id"
    assert alder.patch("/v1/billing", {"tax_id": "1234567891"}).json()["tax_id"] == "123-45-67891"


def test_what_an_issuing_service_needs_is_exported(korean: Invoice) -> None:
    credit_invoice(korean, 1_000, reason="소음")
    out = io.StringIO()
    call_command("tax_invoices", "2026-04", stdout=out)
    first, corrected = csv.DictReader(io.StringIO(out.getvalue().removeprefix("\ufeff")))
    assert out.getvalue().startswith("\ufeff")
    assert (first["key"], first["written_on"]) == (korean.number, "2026-03-31")
    assert (first["buyer_number"], first["buyer_name"]) == ("1234567891", "알더 스튜디오")
    assert (first["buyer_representative"], first["buyer_business_type"]) == ("김철수", "정보통신업")
    assert (first["supply"], first["tax"]) == ("10000", "1000")
    assert (corrected["supply"], corrected["tax"], corrected["reason"]) == ("-1000", "-100", "소음")
    call_command("tax_invoices", "2026-04", "--approved", f"{korean.number}=20260403-1", stdout=out)
    korean.refresh_from_db()
    assert korean.tax_approval_number == "20260403-1"
    again = io.StringIO()
    call_command("tax_invoices", "2026-04", stdout=again)
    [left] = csv.DictReader(io.StringIO(again.getvalue().removeprefix("\ufeff")))
    assert left["corrects"] == "20260403-1"


class Service:
    """An issuing service as the port has it."""

    def __init__(self) -> None:
        self.issued: dict[str, TaxInvoice] = {}

    def issue(self, wanted: TaxInvoice) -> str:
        self.issued.setdefault(wanted.key, wanted)
        return f"approved-{wanted.key}"


def test_a_service_behind_the_same_port_issues_once(korean: Invoice) -> None:
    service = Service()
    for _ in range(2):
        assert issue(korean, service) == f"approved-{korean.number}"
    assert service.issued == {korean.number: tax_invoice_of(korean)}


HEAD = "reference,payer,amount,currency,received_at\n"


def test_deposits_are_booked_when_they_are_beyond_doubt_and_wait_otherwise(
    korean: Invoice, tmp_path: Path, clock: Any
) -> None:
    clock.move_to(at("2026-04-20T10:00Z"))
    statement = tmp_path / "bank.csv"
    statement.write_text(
        HEAD
        + f'b-1,알더 {korean.number},"5,000",KRW,2026-04-10T09:00:00+09:00\n'  # a part of it
        + "b-2,누군가,11000,KRW,2026-04-10T09:00:00+09:00\n"  # the amount of nobody's now
        + "b-3,알더스튜디오,6000,KRW,2026-04-11T09:00:00+09:00\n",  # the rest, by the name
        encoding="utf-8-sig",
    )
    for _ in range(2):  # the same file twice
        call_command("deposits", statement, stdout=io.StringIO())
    korean.refresh_from_db()
    assert korean.status == "paid"
    assert sorted(Payment.objects.values_list("reference", "amount_minor")) == [
        ("b-1", 5_000),
        ("b-3", 6_000),
    ]
    assert list(UnmatchedDeposit.objects.values_list("reference", flat=True)) == ["b-2"]


def test_a_deposit_is_matched_by_hand_and_late(korean: Invoice, tmp_path: Path, clock: Any) -> None:
    from billing.dunning import remind

    clock.move_to(at("2026-05-20T10:00Z"))
    remind()
    statement = tmp_path / "bank.csv"
    statement.write_text(HEAD + "b-9,김철수,11000,KRW,2026-05-19T09:00:00+09:00\n")
    call_command("deposits", statement, stdout=io.StringIO())
    assert UnmatchedDeposit.objects.exists()
    with pytest.raises(CommandError, match="There is no invoice"):
        call_command("deposits", "--match", "b-9=VR2026-999999")
    call_command("deposits", "--match", f"b-9={korean.number}", stdout=io.StringIO())
    korean.refresh_from_db()
    assert (korean.status, UnmatchedDeposit.objects.exists()) == ("paid", False)


@pytest.mark.parametrize(
    "rows",
    [
        "b-1,A,12.5,KRW,2026-04-10T09:00:00Z",
        "b-1,A,x,KRW,2026-04-10T09:00:00Z",
        "b-1,A,1,GBP,2026-04-10",
    ],
)
def test_a_statement_that_cannot_be_read_books_nothing(
    korean: Invoice, tmp_path: Path, rows: str
) -> None:
    statement = tmp_path / "bank.csv"
    statement.write_text(f"{HEAD}b-0,{korean.number},11000,KRW,2026-04-10T09:00:00Z\n{rows}\n")
    with pytest.raises(CommandError, match="Row 3 cannot be read"):
        call_command("deposits", statement)
    assert not Payment.objects.exists()
    statement.write_text("a,b\n1,2\n")
    with pytest.raises(CommandError, match="has to name the columns"):
        call_command("deposits", statement)
