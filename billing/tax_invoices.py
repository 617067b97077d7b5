"""Korean electronic tax invoices (전자세금계산서): what an issuing service needs of a finalized invoice.

An invoice of ours is none. A service licensed for it issues them; it is reached through one port, and the
approval number that it answers is kept. Without one, a file is exported that such services take in.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

from billing.models import CreditNote, Invoice

KOREA = ZoneInfo("Asia/Seoul")


@dataclass(frozen=True)
class Party:
    """Of a tax invoice. number: the business registration number, digits alone."""

    number: str
    name: str
    representative: str
    address: str
    business_type: str
    business_item: str
    email: str

    @classmethod
    def of(cls, party: dict[str, str]) -> "Party":
        return cls(
            number="".join(c for c in party.get("tax_id", "") if c.isdigit()),
            name=party.get("name", ""),
            representative=party.get("representative", ""),
            address=party.get("address", ""),
            business_type=party.get("business_type", ""),
            business_item=party.get("business_item", ""),
            email=party.get("email", ""),
        )


@dataclass(frozen=True)
class TaxInvoice:
    """What is issued. Amounts are won; those of a corrected one, which a credit note asks for, are below
    zero, and it names the approval number of the first.
    """

    key: str  # ours: the same one is issued once
    written_on: date  # the supply's date: the period's last day, or that of the credit note
    supplier: Party
    buyer: Party
    supply_minor: int
    tax_minor: int
    item: str
    corrects: str = ""
    reason: str = ""


class IssuingService(Protocol):
    """Somebody who issues electronic tax invoices."""

    def issue(self, wanted: TaxInvoice) -> str:
        """Issue one, or find it issued. Returns its approval number. Raises IssueRefused."""


class IssueRefused(Exception):
    """The service did not take a tax invoice, and why."""


def needs_tax_invoice(invoice: Invoice) -> bool:
    """Whether the buyer is a Korean business that is charged VAT."""
    return invoice.tax_note == "domestic" and bool(invoice.buyer.get("tax_id"))


def tax_invoice_of(invoice: Invoice) -> TaxInvoice:
    """The tax invoice of a finalized invoice."""
    last = invoice.period_end.astimezone(ZoneInfo(invoice.time_zone))
    return TaxInvoice(
        key=invoice.number,
        written_on=date.fromordinal(last.date().toordinal() - 1),
        supplier=Party.of(invoice.seller),
        buyer=Party.of(invoice.buyer),
        supply_minor=invoice.net_minor,
        tax_minor=invoice.tax_minor,
        item=f"VoiceReel {invoice.month}",
    )


def corrected_tax_invoice(note: CreditNote) -> TaxInvoice:
    """The corrected tax invoice (수정세금계산서) of a credit note."""
    first = tax_invoice_of(note.invoice)
    return TaxInvoice(
        key=note.number,
        written_on=note.issued_at.astimezone(KOREA).date(),
        supplier=first.supplier,
        buyer=first.buyer,
        supply_minor=-note.net_minor,
        tax_minor=-note.tax_minor,
        item=first.item,
        corrects=note.invoice.tax_approval_number,
        reason=note.reason,
    )


def issue(invoice: Invoice, service: IssuingService) -> str:
    """Have an invoice's tax invoice issued, once. Returns its approval number. Raises IssueRefused."""
    if not invoice.tax_approval_number:
        number = service.issue(tax_invoice_of(invoice))
        invoice.tax_approval_number = number
        invoice.save(update_fields=["tax_approval_number"])
    return invoice.tax_approval_number


_COLUMNS = (
    *("key", "written_on", "supplier_number", "supplier_name", "supplier_representative"),
    *("buyer_number", "buyer_name", "buyer_representative", "buyer_address", "buyer_business_type"),
    *("buyer_business_item", "buyer_email", "supply", "tax", "item", "corrects", "reason"),
)


class FileExport:
    """An issuing service that is a person with a file: the approval number is entered afterwards."""

    def __init__(self) -> None:
        self._rows: list[TaxInvoice] = []

    def add(self, wanted: Iterable[TaxInvoice]) -> None:
        self._rows += wanted

    def csv(self) -> str:
        """One row a tax invoice, with a byte-order mark, as spreadsheets in Korea expect UTF-8."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(_COLUMNS)
        writer.writerows(map(_row, self._rows))
        return "\ufeff" + out.getvalue()


def _row(one: TaxInvoice) -> Sequence[str | int]:
    return (
        *(one.key, one.written_on.isoformat(), one.supplier.number, one.supplier.name),
        *(one.supplier.representative, one.buyer.number, one.buyer.name, one.buyer.representative),
        *(one.buyer.address, one.buyer.business_type, one.buyer.business_item, one.buyer.email),
        *(one.supply_minor, one.tax_minor, one.item, one.corrects, one.reason),
    )


def export(invoices: Iterable[Invoice], notes: Iterable[CreditNote]) -> str:
    """The file of all tax invoices that are yet to be issued among these, corrected ones too."""
    file = FileExport()
    file.add(
        tax_invoice_of(row)
        for row in invoices
        if needs_tax_invoice(row) and not row.tax_approval_number
    )
    file.add(corrected_tax_invoice(note) for note in notes if needs_tax_invoice(note.invoice))
    return file.csv()
