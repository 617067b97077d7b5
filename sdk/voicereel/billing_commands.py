"""`voicereel usage`, `invoices`, `billing`: what was used, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .billing_models import Invoice
from .session import Session, json_option, pass_session
from .terminal import duration, one_line, table

# Decimal places of a currency's smallest unit.
_PLACES = {"KRW": 0}


def money(amount_minor: int, currency: str) -> str:
    """`1.50 USD`, `12,300 KRW`."""
    places = _PLACES.get(currency, 2)
    whole, part = divmod(abs(amount_minor), 10**places)
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{whole:,}{f'.{part:0{places}}' if places else ''} {currency}"


@click.command()
@click.option("--month", metavar="YYYY-MM", help="A month's report, with what it costs.")
@click.option(
    "--by", "group", type=click.Choice(["key", "speaker", "project"]), help="Usage of each."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the month's report there, as .csv or .pdf.",
)
@json_option
@pass_session
def usage(session: Session, month: str | None, group: Any, output: Path | None) -> None:
    """Show what was used this month so far, or the report of another."""
    if output is not None and (month is None or output.suffix not in (".csv", ".pdf")):
        raise click.UsageError("-o needs --month, and a file that ends in .csv or .pdf")
    with session.client() as client:
        if month is not None:
            report = client.usage_report(month)
            if output is not None:
                kind: Any = output.suffix[1:]
                client.download_usage_report(month, kind, output)
            net = money(report.net.amount_minor, report.net.currency)
            lines = [
                f"{report.month} ({report.time_zone}{'' if report.is_over else ', so far'})",
                f"  audio: {duration(report.audio_ms)}",
                f"  characters: {report.characters:,}",
                f"  cost before credits and tax: {net}",
            ]
            if output is not None:
                lines.append(f"  written to {output}")
            session.result(report.raw, "\n".join(lines))
            return
        found = client.usage(
            granularity="month" if group else "day", group_by=[group] if group else []
        )
    column = {"key": "api_key_id", "speaker": "speaker_id", "project": "project"}.get(group)
    rows = [
        (
            one_line(getattr(row, column) or "-") if column else f"{row.starts_at:%Y-%m-%d}",
            duration(row.audio_ms),
            f"{row.characters:,}",
        )
        for row in found.rows
    ]
    rows.append(("in all", duration(found.audio_ms), f"{found.characters:,}"))
    head = (group.upper() if group else f"DAY ({found.time_zone})", "AUDIO", "CHARACTERS")
    session.result(found.raw, table(head, rows))


@click.group(no_args_is_help=False)
@json_option
def invoices() -> None:
    """See and download your invoices."""


@invoices.command("list")
@json_option
@pass_session
def list_invoices(session: Session) -> None:
    """List all invoices, newest first."""
    with session.client() as client:
        found = list(client.iter_invoices())
    rows = [_row(row) for row in found]
    text = (
        table(("ID", "NUMBER", "MONTH", "STATUS", "TOTAL", "OPEN"), rows) if rows else "no invoices"
    )
    session.result({"data": [row.raw for row in found]}, text)


def _row(row: Invoice) -> tuple[str, ...]:
    return (
        *(row.id, row.number or "-", row.month, row.status),
        money(row.total_minor, row.currency),
        money(row.open_minor, row.currency),
    )


@invoices.command("download")
@click.argument("invoice_id", metavar="ID")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--events", is_flag=True, help="The usage that it bills, as CSV, instead of the PDF.")
@json_option
@pass_session
def download_invoice(session: Session, invoice_id: str, output: Path, events: bool) -> None:
    """Write an invoice as PDF."""
    with session.client() as client:
        client.download_invoice(invoice_id, output, "events" if events else "pdf")
    session.result({"id": invoice_id, "path": str(output)}, f"{invoice_id} is in {output}")


@click.group(no_args_is_help=False)
@json_option
def billing() -> None:
    """See and limit what is spent."""


@billing.command("show")
@json_option
@pass_session
def show_billing(session: Session) -> None:
    """Show the plan, what this month comes to, and its limit."""
    with session.client() as client:
        row = client.billing()
    cap = "none" if row.cap_minor is None else money(row.cap_minor, row.currency)
    lines = [
        f"{row.legal_name or 'your account'}: plan {row.plan}, standing {row.standing}",
        f"  {row.month} so far, before tax: {money(row.spent_minor, row.currency)}",
        f"  limit of a month: {cap}",
        f"  months begin in {row.time_zone}",
    ]
    session.result(row.raw, "\n".join(lines))


@billing.command("limit")
@click.argument("amount_minor", metavar="AMOUNT")
@json_option
@pass_session
def limit(session: Session, amount_minor: str) -> None:
    """Set the most that a month may cost, in the smallest unit (won, cents), or `none`."""
    if amount_minor != "none" and not amount_minor.isdecimal():
        raise click.BadParameter("give a whole number of the smallest unit, or none")
    with session.client() as client:
        row = client.update_billing(cap_minor=None if amount_minor == "none" else int(amount_minor))
    cap = "no limit" if row.cap_minor is None else money(row.cap_minor, row.currency)
    session.result(row.raw, f"the limit of a month: {cap}")
