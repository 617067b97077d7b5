"""Invoices and reports as PDF, in English and Korean."""

import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from billing.models import CreditNote, Invoice, InvoiceLine
from billing.money import shown
from billing.pricing import Step
from billing.reports import GROUP_NAMES, MonthReport, UsageRow
from billing.wording import words

_FONTS = Path(__file__).with_name("fonts")
_REGULAR, _BOLD = "Invoice", "Invoice-Bold"
_INK, _MUTED, _RULE = (
    colors.HexColor("#1b1b24"),
    colors.HexColor("#62626f"),
    colors.HexColor("#d5d5de"),
)
_WIDTH = A4[0] - 36 * mm
_GROUP_ROWS = 40  # of a report's tables; the CSV has all


@cache
def _load_fonts() -> None:
    pdfmetrics.registerFont(TTFont(_REGULAR, _FONTS / "invoice-regular.ttf"))
    pdfmetrics.registerFont(TTFont(_BOLD, _FONTS / "invoice-bold.ttf"))
    pdfmetrics.registerFontFamily(_REGULAR, _REGULAR, _BOLD, _REGULAR, _BOLD)


def _style(size: float = 9, *, bold: bool = False, right: bool = False, muted: bool = False) -> Any:
    return ParagraphStyle(
        "text",
        fontName=_BOLD if bold else _REGULAR,
        fontSize=size,
        leading=size * 1.4,
        textColor=_MUTED if muted else _INK,
        wordWrap="CJK",
        **({"alignment": TA_RIGHT} if right else {}),
    )


def _text(text: str, size: float = 9, **style: bool) -> Paragraph:
    return Paragraph(escape(text, quote=False).replace("\n", "<br/>"), _style(size, **style))


class _Numbered(Canvas):
    """Pages that say how many there are."""

    def __init__(self, *args: Any, foot: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._foot = foot
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self.setFont(_REGULAR, 7.5)
            self.setFillColor(_MUTED)
            self.drawString(18 * mm, 10 * mm, self._foot)
            self.drawRightString(A4[0] - 18 * mm, 10 * mm, f"{number} / {len(self._pages)}")
            super().showPage()
        super().save()


def _pdf(parts: Sequence[Flowable], *, title: str, author: str, foot: str) -> bytes:
    out = io.BytesIO()
    document = BaseDocTemplate(
        out,
        pagesize=A4,
        title=title,
        author=author,
        # The same document is the same bytes, however often it is made.
        invariant=1,
    )
    frame = Frame(
        *(18 * mm, 20 * mm, _WIDTH, A4[1] - 38 * mm),
        *(0, 0, 0, 0),  # no padding: tables and texts begin at one edge
    )
    document.addPageTemplates(PageTemplate(frames=[frame]))
    document.build(list(parts), canvasmaker=lambda *a, **k: _Numbered(*a, foot=foot, **k))
    return out.getvalue()


def _day(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone)).date().isoformat()


def _days(start: datetime, end: datetime, zone: str) -> str:
    """The days of [start, end), the last one too."""
    return f"{_day(start, zone)} – {_day(end - timedelta(microseconds=1), zone)}"


def minutes(audio_ms: int) -> str:
    """Minutes to the thousandth: a millisecond is a sixtieth of it."""
    return f"{audio_ms / 60_000:,.3f}"


def invoice_pdf(invoice: Invoice) -> bytes:
    """An invoice as it was finalized, or a draft that says so."""
    _load_fonts()
    say = words(invoice.language)
    zone = invoice.time_zone
    lines = list(invoice.lines.all())
    is_draft = invoice.status == Invoice.Status.DRAFT
    title = say("draft_invoice") if is_draft else say("invoice")
    facts = [
        (say("number"), invoice.number or "–"),
        (say("issued"), "–" if is_draft else _day(invoice.finalized_at, zone)),
        (say("due"), "–" if is_draft else _day(invoice.due_at, zone)),
        (say("period"), _days(invoice.period_start, invoice.period_end, zone)),
        (say("time_zone"), zone),
    ]
    parts: list[Flowable] = [
        _heading(title, (invoice.status == Invoice.Status.VOID and say("void")) or ""),
        Spacer(1, 5 * mm),
        _parties(invoice, say),
        Spacer(1, 5 * mm),
        _facts(facts),
        Spacer(1, 6 * mm),
        _invoice_lines(invoice, lines, say),
        Spacer(1, 4 * mm),
        _totals(invoice, say),
        Spacer(1, 6 * mm),
        *_notes(invoice, say),
    ]
    return _pdf(
        parts,
        title=f"{title} {invoice.number}".strip(),
        author=invoice.seller.get("name", ""),
        foot=f"{invoice.seller.get('name', '')}  ·  {title} {invoice.number}".strip(),
    )


def credit_note_pdf(note: CreditNote) -> bytes:
    """A credit note."""
    _load_fonts()
    invoice = note.invoice
    say = words(invoice.language)
    title = say("credit_note")
    table = [
        [_text(say("of_invoice")), _text(invoice.number, right=True)],
        [_text(say("reason")), _text(note.reason, right=True)],
        [_text(say("net")), _text(shown(-note.net_minor, invoice.currency), right=True)],
        [
            _text(_tax_label(invoice, say)),
            _text(shown(-note.tax_minor, invoice.currency), right=True),
        ],
        [
            _text(say("total"), bold=True),
            _text(shown(-note.total_minor, invoice.currency), bold=True, right=True),
        ],
    ]
    parts: list[Flowable] = [
        _heading(title, ""),
        Spacer(1, 5 * mm),
        _parties(invoice, say),
        Spacer(1, 5 * mm),
        _facts(
            [
                (say("number"), note.number),
                (say("issued"), _day(note.issued_at, invoice.time_zone)),
            ]
        ),
        Spacer(1, 6 * mm),
        Table(table, colWidths=[_WIDTH * 0.5, _WIDTH * 0.5], style=_RULED),
    ]
    foot = f"{invoice.seller.get('name', '')}  ·  {title} {note.number}"
    return _pdf(
        parts, title=f"{title} {note.number}", author=invoice.seller.get("name", ""), foot=foot
    )


def _heading(title: str, mark: str) -> Table:
    row = [[_text(title, 20, bold=True), _text(mark, 14, bold=True, right=True)]]
    return Table(row, colWidths=[_WIDTH * 0.7, _WIDTH * 0.3], style=_BARE)


_BARE = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
    ]
)
_RULED = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE),
    ]
)


def _parties(invoice: Invoice, say: Any) -> Table:
    cells = []
    for label, party in ((say("seller"), invoice.seller), (say("buyer"), invoice.buyer)):
        rows: list[Paragraph] = [
            _text(label, 7.5, muted=True),
            _text(party.get("name", ""), 10, bold=True),
        ]
        rows += [_text(party[key]) for key in ("address", "country", "email") if party.get(key)]
        for key in ("tax_id", "representative", "business_type", "business_item"):
            if party.get(key):
                korean = party.get("country") == "KR" and key == "tax_id"
                name = say("business_number") if korean else say(key)
                rows.append(_text(f"{name}: {party[key]}"))
        cells.append(rows)
    return Table([cells], colWidths=[_WIDTH / 2, _WIDTH / 2], style=_BARE)


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    labels = [_text(label, 7.5, muted=True) for label, _ in facts]
    values = [_text(value) for _, value in facts]
    lengths = [max(len(label), len(value), 10) for label, value in facts]
    widths = [_WIDTH * length / sum(lengths) for length in lengths]
    return Table([labels, values], colWidths=widths, style=_BARE)


def _invoice_lines(invoice: Invoice, lines: Sequence[InvoiceLine], say: Any) -> Table:
    rows: list[list[Any]] = [
        [
            _text(say("what"), 7.5, muted=True),
            _text(say("quantity"), 7.5, muted=True, right=True),
            _text(say("price"), 7.5, muted=True, right=True),
            _text(say("amount"), 7.5, muted=True, right=True),
        ]
    ]
    for line in lines:
        rows.append(
            [
                _text(_called(line, invoice, say)),
                _text(_quantity(line, say), right=True),
                "",
                _text(shown(line.amount_minor, invoice.currency), right=True),
            ]
        )
        for step in map(Step.from_json, line.steps):
            rows.append(_step_row(step, invoice.currency, say))
    return Table(
        rows,
        colWidths=[_WIDTH * 0.46, _WIDTH * 0.18, _WIDTH * 0.18, _WIDTH * 0.18],
        style=_RULED,
        repeatRows=1,
    )


def _step_row(step: Step, currency: str, say: Any) -> list[Any]:
    price = (
        say("included") if step.per_minute is None else shown(step.per_minute, currency, places=2)
    )
    return [
        _text(
            f"    {say('of_which_included' if step.per_minute is None else 'of_which')}",
            8,
            muted=True,
        ),
        _text(f"{minutes(step.audio_ms)} {say('minutes')}", 8, muted=True, right=True),
        _text(
            price if step.per_minute is None else f"{price} / {say('minute')}",
            8,
            muted=True,
            right=True,
        ),
        "",
    ]


def _called(line: InvoiceLine, invoice: Invoice, say: Any) -> str:
    days = _days(line.starts_at, line.ends_at, invoice.time_zone)
    plan = say(f"plan_{line.plan}") if line.plan else ""
    match line.kind:
        case InvoiceLine.Kind.BASE_FEE:
            return f"{say('base_fee')} · {plan}\n{days}"
        case InvoiceLine.Kind.AUDIO:
            return f"{say('audio')} · {plan}\n{days}"
        case InvoiceLine.Kind.LATE_AUDIO:
            return f"{say('late_audio')} · {plan}\n{days}"
    return f"{say('credit')}: {line.reason}"


def _quantity(line: InvoiceLine, say: Any) -> str:
    if line.kind == InvoiceLine.Kind.BASE_FEE:
        return f"{line.days} {say('days')}"
    return f"{minutes(line.quantity_ms)} {say('minutes')}" if line.quantity_ms else ""


def _tax_label(invoice: Invoice, say: Any) -> str:
    if invoice.tax_note == "domestic":
        return f"{say('tax')} {invoice.tax_percent.normalize():f} %"
    return f"{say('tax')} 0 %"


def _totals(invoice: Invoice, say: Any) -> Table:
    net = say("supply_value") if invoice.seller.get("country") == "KR" else say("net")
    rows = [
        ["", _text(net), _text(shown(invoice.net_minor, invoice.currency), right=True)],
        [
            "",
            _text(_tax_label(invoice, say)),
            _text(shown(invoice.tax_minor, invoice.currency), right=True),
        ],
        [
            "",
            _text(say("total"), 11, bold=True),
            _text(
                f"{shown(invoice.total_minor, invoice.currency)} {invoice.currency}",
                11,
                bold=True,
                right=True,
            ),
        ],
    ]
    style = TableStyle([*_BARE.getCommands(), ("LINEABOVE", (1, 2), (-1, 2), 0.8, _INK)])
    return Table(rows, colWidths=[_WIDTH * 0.46, _WIDTH * 0.27, _WIDTH * 0.27], style=style)


def _notes(invoice: Invoice, say: Any) -> list[Flowable]:
    notes = [say(f"tax_{invoice.tax_note}")] if invoice.tax_note else []
    if invoice.pays_by == "transfer" and invoice.total_minor > 0:
        notes.append(say("pay_by_transfer").format(number=invoice.number or "–"))
        if bank := invoice.seller.get("bank"):
            notes.append(bank)
    elif invoice.total_minor > 0:
        notes.append(say("pay_by_card"))
    if invoice.seller.get("country") == "KR":
        notes.append(say("no_tax_invoice"))
        if invoice.tax_approval_number:
            notes.append(f"{say('approval_number')}: {invoice.tax_approval_number}")
    return [_text(note, 8, muted=True) for note in notes]


def report_pdf(report: MonthReport) -> bytes:
    """A month's usage, with what it costs before credits and tax."""
    _load_fonts()
    say = words(report.language)
    zone = report.month.zone
    title = f"{say('usage_report')} {report.month.name}"
    facts = [
        (say("buyer"), report.tenant.name),
        (say("period"), _days(report.month.start, report.month.end, zone)),
        (say("time_zone"), zone),
        (say("made"), f"{report.made_at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"),
    ]
    totals = [
        (say("audio_minutes"), minutes(report.totals["audio_ms"])),
        (say("characters"), f"{report.totals['characters']:,}"),
        (say("net"), shown(report.net_minor, report.currency)),
    ]
    parts: list[Flowable] = [
        _heading(title, "" if report.is_over else say("so_far")),
        Spacer(1, 4 * mm),
        _facts(facts),
        Spacer(1, 5 * mm),
        _facts(totals),
        Spacer(1, 5 * mm),
    ]
    if not any(report.totals.values()):
        parts.append(_text(say("nothing_used"), 10))
    if report.parts:
        parts += [_text(say("cost"), 11, bold=True), _cost_table(report, say), Spacer(1, 5 * mm)]
    if report.days:
        rows = [(_day(row.starts_at, zone), row) for row in report.days]
        parts += [_text(say("by_day"), 11, bold=True), _usage_table(rows, say("day"), say)]
    for column, its in report.groups.items():
        name = next(key for key, value in GROUP_NAMES.items() if value == column)
        named = [(_group_name(report, column, row, say), row) for row in its]
        if not named:
            continue
        parts += [
            Spacer(1, 5 * mm),
            _text(say(f"by_{name}"), 11, bold=True),
            _usage_table(named[:_GROUP_ROWS], say(name), say),
        ]
        if len(named) > _GROUP_ROWS:
            parts.append(
                _text(say("more_in_csv").format(count=len(named) - _GROUP_ROWS), 8, muted=True)
            )
    foot = f"{report.tenant.name}  ·  {title}  ·  {zone}"
    return _pdf(parts, title=title, author="VoiceReel", foot=foot)


def _group_name(report: MonthReport, column: str, row: UsageRow, say: Any) -> str:
    value = row.groups[column]
    if column == "api_key_id" and report.key_labels.get(value):
        return f"{report.key_labels[value]} ({value})"
    return value or say("none")


def _cost_table(report: MonthReport, say: Any) -> Table:
    rows: list[list[Any]] = []
    for part in report.parts:
        days = _days(part.starts_at, part.ends_at, report.month.zone)
        plan = say(f"plan_{part.plan}")
        if part.base_fee_minor:
            fee = shown(part.base_fee_minor, report.currency)
            rows.append(
                [_text(f"{say('base_fee')} · {plan} · {days}"), "", "", _text(fee, right=True)]
            )
        rows.append(
            [
                _text(f"{say('audio')} · {plan} · {days}"),
                _text(f"{minutes(part.audio_ms)} {say('minutes')}", right=True),
                "",
                _text(shown(part.audio_minor, report.currency), right=True),
            ]
        )
        rows += [_step_row(step, report.currency, say) for step in part.steps]
    return Table(
        rows, colWidths=[_WIDTH * 0.46, _WIDTH * 0.18, _WIDTH * 0.18, _WIDTH * 0.18], style=_RULED
    )


def _usage_table(rows: Sequence[tuple[str, UsageRow]], label: str, say: Any) -> Table:
    head = [
        _text(label, 7.5, muted=True),
        _text(say("audio_minutes"), 7.5, muted=True, right=True),
        _text(say("characters"), 7.5, muted=True, right=True),
    ]
    cells = [
        [
            _text(name),
            _text(minutes(row.quantities["audio_ms"]), right=True),
            _text(f"{row.quantities['characters']:,}", right=True),
        ]
        for name, row in rows
    ]
    widths = [_WIDTH * 0.6, _WIDTH * 0.2, _WIDTH * 0.2]
    return Table([head, *cells], colWidths=widths, style=_RULED, repeatRows=1)
