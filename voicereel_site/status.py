"""The public page that says how the service is, and how it was."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Literal

from django.core.cache import cache
from django.db.models import Min
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from accounts.models import RequestCount
from billing.sla import TARGET, percent_of
from synthesis.backlog import last_seen
from voicereel_site import errors, outages

_DAYS = 30
_KEPT_S = 30  # whoever loads the page again and again asks no more of the database
_LONG_WAIT_S = 600.0
_MINUTE = timedelta(minutes=1)

State = Literal["ok", "slow", "away"]


@dataclass(frozen=True)
class Day:
    """A day, UTC. percent: of its minutes in which we were there; short: whether less than promised."""

    date: date
    percent: str
    short: bool


@dataclass(frozen=True)
class Status:
    """api, speech, files: how each is; days: the last, newest first, from when on we know."""

    at: datetime
    api: State
    speech: State
    files: State
    days: list[Day]

    @property
    def is_well(self) -> bool:
        return {self.api, self.speech, self.files} == {"ok"}


def status(request: HttpRequest) -> HttpResponseBase:
    """Whether everything works, and how the last days were. For everybody."""
    if request.method not in ("GET", "HEAD"):
        return errors.method_not_allowed(request, ["GET", "HEAD"])
    found: Status | None = cache.get("status")
    if found is None:
        found = look()
        cache.set("status", found, _KEPT_S)
    return render(request, "pages/status.html", {"status": found})


def look() -> Status:
    """How it is now. Takes seconds at most."""
    states = outages.check_all()
    api: State = "ok" if states["database"] == states["disk"] == "ok" else "away"
    speech: State = "away"
    if api == "ok" and states["broker"] == "ok":
        speech = _speech()
    return Status(
        timezone.now(),
        api,
        speech,
        "ok" if states["storage"] == "ok" else "away",
        _days() if states["database"] == "ok" else [],
    )


def _speech() -> State:
    backlog = last_seen.get()
    if backlog is None:
        return "away"  # nobody hands jobs to workers
    waits_long = backlog.lines_per_s and backlog.lines / backlog.lines_per_s > _LONG_WAIT_S
    return "slow" if waits_long else "ok"


def _days() -> list[Day]:
    now = timezone.now()
    first = RequestCount.objects.aggregate(first=Min("minute"))["first"]
    if first is None:
        return []
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = max(first, today - timedelta(days=_DAYS - 1))
    end = now.replace(second=0, microsecond=0) - _MINUTE
    there: dict[date, int] = defaultdict(int)
    rows = RequestCount.objects.filter(minute__gte=start, minute__lt=end)
    for minute in rows.values_list("minute", flat=True).iterator():
        there[minute.date()] += 1
    found = []
    for ago in range(_DAYS):
        midnight = today - timedelta(days=ago)
        begins, ends = max(start, midnight), min(end, midnight + timedelta(days=1))
        if minutes := max(0, (ends - begins) // _MINUTE):
            day = midnight.astimezone(UTC).date()
            share = min(Fraction(1), Fraction(there[day], minutes))
            found.append(Day(day, percent_of(share) or "", share < TARGET))
    return found
