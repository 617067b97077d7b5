"""What the API says of usage and money, as frozen dataclasses. Amounts are of the smallest unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .models import Money, moment

Granularity = Literal["hour", "day", "month"]
UsageGroup = Literal["key", "speaker", "project"]
InvoiceStatus = Literal["draft", "finalized", "paid", "void"]


@dataclass(frozen=True)
class ScriptProblem:
    """What is wrong with a script, and where (a JSON pointer)."""

    pointer: str
    detail: str
    line_id: str | None
    code: str | None


@dataclass(frozen=True)
class Preview:
    """What would become of a script: whether it would be taken, how long, and at which price."""

    valid: bool
    errors: tuple[ScriptProblem, ...]
    code: str | None
    detail: str | None
    predicted_duration_ms: int
    longest_duration_ms: int
    """No more than that is billed."""
    highest_price: Money
    """The bill never passes it."""
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preview:
        return cls(
            valid=data["valid"],
            errors=tuple(
                ScriptProblem(
                    error["pointer"], error["detail"], error.get("line_id"), error.get("code")
                )
                for error in data["errors"]
            ),
            code=data.get("code"),
            detail=data.get("detail"),
            predicted_duration_ms=data["predicted_duration_ms"],
            longest_duration_ms=data["longest_duration_ms"],
            highest_price=Money.from_json(data["highest_price"]),
            raw=data,
        )


@dataclass(frozen=True)
class UsageRow:
    """Usage in an hour, a day or a month; of a group, if it was asked by groups."""

    starts_at: datetime | None
    ends_at: datetime | None
    audio_ms: int
    characters: int
    stored_bytes: int
    api_key_id: str | None
    speaker_id: str | None
    project: str | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> UsageRow:
        return cls(
            starts_at=moment(data["starts_at"]),
            ends_at=moment(data["ends_at"]),
            audio_ms=data["audio_ms"],
            characters=data["characters"],
            stored_bytes=data["stored_bytes"],
            api_key_id=data.get("api_key_id"),
            speaker_id=data.get("speaker_id"),
            project=data.get("project"),
        )


@dataclass(frozen=True)
class Usage:
    """Usage up to now; days and months begin in `time_zone`."""

    time_zone: str
    audio_ms: int
    characters: int
    rows: tuple[UsageRow, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Usage:
        return cls(
            time_zone=data["time_zone"],
            audio_ms=data["totals"]["audio_ms"],
            characters=data["totals"]["characters"],
            rows=tuple(UsageRow.from_json(row) for row in data["data"]),
            raw=data,
        )


@dataclass(frozen=True)
class MonthReport:
    """A month's usage, and what it costs before credits and tax."""

    month: str
    time_zone: str
    is_over: bool
    audio_ms: int
    characters: int
    net: Money
    days: tuple[UsageRow, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MonthReport:
        return cls(
            month=data["month"],
            time_zone=data["time_zone"],
            is_over=data["is_over"],
            audio_ms=data["totals"]["audio_ms"],
            characters=data["totals"]["characters"],
            net=Money(data["net_minor"], data["currency"]),
            days=tuple(UsageRow.from_json(row) for row in data["days"]),
            raw=data,
        )


@dataclass(frozen=True)
class InvoiceLine:
    """One thing that an invoice asks for, in [starts_at, ends_at)."""

    id: str
    kind: str
    audio_ms: int
    amount_minor: int
    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True)
class Invoice:
    """An invoice."""

    id: str
    number: str | None
    """None: a draft."""
    status: InvoiceStatus
    month: str
    time_zone: str
    currency: str
    net_minor: int
    tax_minor: int
    total_minor: int
    open_minor: int
    """What is yet to be paid."""
    due_at: datetime | None
    lines: tuple[InvoiceLine, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Invoice:
        return cls(
            id=data["id"],
            number=data.get("number"),
            status=data["status"],
            month=data["month"],
            time_zone=data["time_zone"],
            currency=data["currency"],
            net_minor=data["net_minor"],
            tax_minor=data["tax_minor"],
            total_minor=data["total_minor"],
            open_minor=data["open_minor"],
            due_at=moment(data.get("due_at")),
            lines=tuple(
                InvoiceLine(
                    line["id"],
                    line["kind"],
                    line["audio_ms"],
                    line["amount_minor"],
                    moment(line["starts_at"]),
                    moment(line["ends_at"]),
                )
                for line in data["lines"]
            ),
            raw=data,
        )


@dataclass(frozen=True)
class Billing:
    """Who pays, how much at most (`cap_minor`), and how much it is so far this month."""

    plan: str
    standing: str
    currency: str
    time_zone: str
    legal_name: str
    email: str
    cap_minor: int | None
    month: str
    spent_minor: int
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Billing:
        return cls(
            plan=data["plan"],
            standing=data["standing"],
            currency=data["currency"],
            time_zone=data["time_zone"],
            legal_name=data["legal_name"],
            email=data["email"],
            cap_minor=data["cap_minor"],
            month=data["running"]["month"],
            spent_minor=data["running"]["spent_minor"],
            raw=data,
        )
