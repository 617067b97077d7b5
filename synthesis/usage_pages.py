"""The page of usage: as it happens, and by day, key, speaker and project."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from accounts.models import Membership
from accounts.people.pages import page
from accounts.scopes import Scope
from billing.accounts import account_of
from billing.api import report_download
from billing.models import BillingAccount
from billing.periods import Month
from billing.quotas import spent_percent
from billing.reports import MonthReport, UsageRow, month_report, months_of
from speakers.models import Speaker

_ROWS_SHOWN = 20
_CHART_WIDTH, _CHART_HEIGHT, _CHART_FOOT = 620, 150, 20


@page("GET", scope=Scope.USAGE_READ)
def usage(request: HttpRequest) -> HttpResponseBase:
    """A month's usage; the running one's rises by itself."""
    tenant = request.member.tenant
    account = account_of(tenant, timezone.now())
    months = months_of(tenant, account)
    chosen = request.GET.get("month") or months[0]
    context = {**_shown(request, chosen, account), "months": months, "running": months[0]}
    return render(request, "pages/usage.html", context)


@page("GET", scope=Scope.USAGE_READ, refused_as="part")
def usage_live(request: HttpRequest) -> HttpResponseBase:
    """What of the page changes as jobs end."""
    account = account_of(request.member.tenant, timezone.now())
    running = Month.containing(timezone.now(), account.time_zone)
    return render(request, "pages/usage_live.html", _shown(request, running.name, account))


def _shown(request: HttpRequest, name: str, account: BillingAccount) -> dict[str, Any]:
    tenant = request.member.tenant
    report = month_report(tenant, name)
    return {
        "report": report,
        "month": report.month.name,
        "live": not report.is_over,
        "account": account,
        "percent": spent_percent(account),
        "bars": _bars(report),
        "groups": _groups(report),
        "chart": {
            "width": _CHART_WIDTH,
            "base": _CHART_HEIGHT,
            "height": _CHART_HEIGHT + _CHART_FOOT,
        },
    }


def _bars(report: MonthReport) -> list[dict[str, Any]]:
    """A bar for each day of the month: where it stands in the chart, and what it says."""
    zone = ZoneInfo(report.month.zone)
    by_day = {row.starts_at.astimezone(zone).day: row.quantities["audio_ms"] for row in report.days}
    most = max([*by_day.values(), 1])
    step = _CHART_WIDTH / report.month.days
    bars = []
    for day in range(1, report.month.days + 1):
        audio_ms = by_day.get(day, 0)
        height = max(2.0 if audio_ms > 0 else 0.0, audio_ms / most * (_CHART_HEIGHT - 10))
        bars.append(
            {
                "day": day,
                "audio_ms": audio_ms,
                "x": round((day - 1) * step + 2, 1),
                "y": round(_CHART_HEIGHT - height, 1),
                "width": round(step - 4, 1),
                "height": round(height, 1),
                "middle": round((day - 0.5) * step, 1),
                "label": day == 1 or day % 5 == 0,
            }
        )
    return bars


def _groups(report: MonthReport) -> list[tuple[str, list[tuple[str, UsageRow]]]]:
    """The largest of each group, with the names that people know them by."""
    rows = {name: list(found[:_ROWS_SHOWN]) for name, found in report.groups.items()}
    names = {
        "api_key_id": _names_of_keys(report, rows["api_key_id"]),
        "speaker_id": _names_of_speakers(report, rows["speaker_id"]),
        "project": {},
    }
    return [
        (group, [(names[group].get(row.groups[group], row.groups[group]), row) for row in found])
        for group, found in rows.items()
    ]


def _names_of_speakers(report: MonthReport, rows: Sequence[UsageRow]) -> dict[str, str]:
    """Also of speakers that were deleted since."""
    ids = [row.groups["speaker_id"] for row in rows]
    found = Speaker.objects.for_tenant(report.tenant).filter(pk__in=ids)
    return dict(found.values_list("pk", "name"))


def _names_of_keys(report: MonthReport, rows: Sequence[UsageRow]) -> dict[str, str]:
    """Labels of keys, and addresses of the members who came without one."""
    ids = [row.groups["api_key_id"] for row in rows]
    members = Membership.objects.for_tenant(report.tenant).filter(user__in=ids)
    return {
        **{pk: label for pk, label in report.key_labels.items() if label},
        **dict(members.values_list("user_id", "user__email")),
    }


@page("GET", scope=Scope.USAGE_READ)
def usage_report(request: HttpRequest, month: str, kind: str) -> HttpResponseBase:
    """A month's report, to print (pdf) or for spreadsheets (csv)."""
    return report_download(month_report(request.member.tenant, month), kind)
