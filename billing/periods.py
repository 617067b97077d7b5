"""Billing months: half-open, [start, end), in a tenant's own time zone, kept as UTC instants."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Month:
    """A calendar month as a tenant counts it."""

    year: int
    month: int
    zone: str  # IANA

    @classmethod
    def containing(cls, at: datetime, zone: str) -> "Month":
        local = at.astimezone(ZoneInfo(zone))
        return cls(local.year, local.month, zone)

    @classmethod
    def parse(cls, text: str, zone: str) -> "Month":
        """``2026-11``. Raises ValueError."""
        match = _MONTH.fullmatch(text)
        if match is None or not 2000 <= int(match[1]) <= 2999:
            raise ValueError(text)
        return cls(int(match[1]), int(match[2]), zone)

    @property
    def name(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def start(self) -> datetime:
        """The instant in which it begins."""
        return midnight(date(self.year, self.month, 1), self.zone)

    @property
    def end(self) -> datetime:
        """The instant in which the next one begins."""
        return self.next().start

    @property
    def days(self) -> int:
        following = self.next()
        first, last = date(self.year, self.month, 1), date(following.year, following.month, 1)
        return (last - first).days

    @property
    def last_day(self) -> date:
        return date(self.year, self.month, self.days)

    def next(self) -> "Month":
        year, month = divmod(self.year * 12 + self.month, 12)
        return Month(year, month + 1, self.zone)

    def before(self) -> "Month":
        year, month = divmod(self.year * 12 + self.month - 2, 12)
        return Month(year, month + 1, self.zone)

    def share_of(self, start: datetime, end: datetime) -> Fraction:
        """Which part of the month's days lies in [start, end). A day counts for whom it begins with."""
        first, last = self._day(start), self._day(end)
        return Fraction(max(0, last - first), self.days)

    def _day(self, at: datetime) -> int:
        """How many days of the month had begun before an instant."""
        if at <= self.start:
            return 0
        if at >= self.end:
            return self.days
        local = at.astimezone(ZoneInfo(self.zone))
        begins = midnight(local.date(), self.zone) == at
        return local.day - 1 if begins else local.day


def midnight(day: date, zone: str) -> datetime:
    """The first instant of a day somewhere, as UTC. A midnight that a change of clocks skips is the
    instant of the change.
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
