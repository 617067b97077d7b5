"""Grafana's dashboards, each as a table of panels: ``make dashboards`` writes them to dashboards/*.json.

python docker/monitoring/grafana/dashboards.py
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
_WIDE, _HEIGHT, _COLUMNS = 24, 8, 2
_RESPONSES = "django_http_responses_total_by_status_view_method_total"
_LATENCY = "django_http_requests_latency_seconds_by_view_method_bucket"
_OF_CUSTOMERS = 'view!~"voicereel_site.urls.*"'


@dataclass(frozen=True)
class Panel:
    """A graph, or with stat the last value alone. queries: PromQL by what the legend calls it."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    stat: bool = False
    about: str = ""


DASHBOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "service": (
        "VoiceReel: service",
        (
            Panel(
                "Answers a second, by status",
                {"{{status}}": f"sum by (status) (rate({_RESPONSES}{{{_OF_CUSTOMERS}}}[5m]))"},
                "reqps",
            ),
            Panel(
                "Failures of ours, by view",
                {"{{view}}": f'sum by (view) (rate({_RESPONSES}{{status=~"5.."}}[5m]))'},
                "reqps",
            ),
            Panel(
                "How long an answer takes",
                {
                    f"{share} %": f"histogram_quantile(0.{share}, sum by (le) "
                    f"(rate({_LATENCY}{{{_OF_CUSTOMERS}}}[5m])))"
                    for share in (50, 95, 99)
                },
                "s",
            ),
            Panel(
                "The slowest views, 95 %",
                {
                    "{{view}}": "topk(8, histogram_quantile(0.95, sum by (le, view) "
                    f"(rate({_LATENCY}{{{_OF_CUSTOMERS}}}[5m]))))"
                },
                "s",
            ),
            Panel(
                "The queue",
                {
                    "jobs": "max(voicereel_queue_jobs)",
                    "lines": "max(voicereel_queue_lines)",
                    "jobs in hand": "max(voicereel_jobs_in_hand)",
                },
            ),
            Panel("How long the first waits", {"": "max(voicereel_queue_oldest_seconds)"}, "s"),
            Panel(
                "Lines spoken a minute, jobs handed over a minute",
                {
                    "lines": "60 * sum(rate(voicereel_lines_total[5m]))",
                    "jobs": "60 * sum(rate(voicereel_jobs_handed_total[5m]))",
                },
            ),
            Panel(
                "Attempts at jobs a minute, by how they end",
                {"{{outcome}}": "60 * sum by (outcome) (rate(voicereel_job_ends_total[5m]))"},
            ),
            Panel(
                "What we stand on was away (an hour)",
                {"{{server}}": "sum by (server) (increase(voicereel_outages_total[1h]))"},
            ),
            Panel("Processes", {"{{job}}": "sum by (job) (up)"}),
            Panel("Workers", {"{{state}}": "max by (state) (voicereel_workers)"}),
            Panel(
                "Tasks a minute, failed",
                {
                    "{{task}}": "60 * sum by (task) "
                    '(rate(voicereel_tasks_total{outcome="failed"}[5m]))'
                },
            ),
            Panel(
                "The outbox: due and overdue",
                {
                    "due": "max(voicereel_outbox_due)",
                    "overdue, s": "max(voicereel_outbox_oldest_seconds)",
                    "given up": "max(voicereel_outbox_dead)",
                },
            ),
            Panel(
                "Webhooks",
                {
                    "{{outcome}} a minute": "60 * sum by (outcome) "
                    "(rate(voicereel_webhook_attempts_total[5m]))",
                    "overdue": "max(voicereel_webhook_overdue)",
                    "endpoints failing": "max(voicereel_webhook_endpoints_failing)",
                    "endpoints switched off": "max(voicereel_webhook_endpoints_disabled)",
                },
            ),
            Panel(
                "Keys that open nothing, a second",
                {"": "sum(rate(voicereel_key_failures_total[5m]))"},
                "reqps",
            ),
            Panel(
                "PostgreSQL: since the last archived log, and replicas",
                {
                    "archived, s ago": "max(voicereel_archive_oldest_seconds)",
                    "replicas": "max(voicereel_postgres_replicas)",
                },
            ),
        ),
    ),
    "engine": (
        "VoiceReel: engine",
        (
            Panel(
                "Seconds of the engine for a second of audio",
                {
                    "GPU, all rows": "sum(rate(voicereel_engine_busy_seconds_total[5m])) / "
                    "sum(rate(voicereel_engine_audio_seconds_total[5m]))",
                    "a job": "sum(rate(voicereel_speaking_seconds_total[5m])) / "
                    "sum(rate(voicereel_audio_seconds_total[5m]))",
                },
                about="The real-time factor: below 1 it speaks faster than one listens.",
            ),
            Panel(
                "Audio a minute",
                {"seconds": "60 * sum(rate(voicereel_audio_seconds_total[5m]))"},
                "s",
            ),
            Panel(
                "Pieces of lines",
                {
                    "waiting": "sum(voicereel_engine_lines_waiting)",
                    "being spoken": "sum(voicereel_engine_rows_in_use)",
                },
            ),
            Panel(
                "Steps a second",
                {
                    "all": "sum(rate(voicereel_engine_steps_total[5m]))",
                    "shared by several jobs": "sum(rate(voicereel_engine_shared_steps_total[5m]))",
                    "tokens": "sum(rate(voicereel_engine_tokens_total[5m]))",
                },
            ),
            Panel(
                "Spoken again, by cause (an hour)",
                {"{{cause}}": "sum by (cause) (increase(voicereel_engine_retries_total[1h]))"},
            ),
            Panel(
                "Given up, by cause (an hour)",
                {"{{cause}}": "sum by (cause) (increase(voicereel_engine_failures_total[1h]))"},
            ),
            Panel(
                "Memory of the device",
                {"{{instance}}": "voicereel_engine_memory_bytes"},
                "bytes",
            ),
            Panel(
                "Engines that are warm, voices kept",
                {
                    "warm": "sum(voicereel_engine_ready)",
                    "voices": "sum(voicereel_engine_voices_kept)",
                },
            ),
            Panel(
                "How long a job is processed",
                {
                    f"{share} %": f"histogram_quantile(0.{share}, sum by (le) "
                    "(rate(voicereel_job_seconds_bucket[15m])))"
                    for share in (50, 95)
                },
                "s",
            ),
            Panel(
                "How long a worker has a task, 95 %",
                {
                    "{{queue}}": "histogram_quantile(0.95, sum by (le, queue) "
                    "(rate(voicereel_task_seconds_bucket[15m])))"
                },
                "s",
            ),
        ),
    ),
    "billing": (
        "VoiceReel: billing",
        (
            Panel(
                "Audio spoken, hours a day",
                {"": "sum(increase(voicereel_audio_seconds_total[1d])) / 3600"},
                stat=True,
            ),
            Panel(
                "Age of the oldest audio that is on no invoice",
                {"": "max(voicereel_unbilled_oldest_seconds)"},
                "s",
                stat=True,
            ),
            Panel(
                "Stripe",
                {
                    "overdue": "max(voicereel_stripe_overdue)",
                    "totals differ": "max(voicereel_stripe_held)",
                },
            ),
            Panel(
                "Billing's tasks a minute",
                {
                    "{{task}} {{outcome}}": "60 * sum by (task, outcome) "
                    '(rate(voicereel_tasks_total{task=~"billing.*"}[15m]))'
                },
            ),
            Panel(
                "Mail a minute",
                {
                    "{{outcome}}": "60 * sum by (outcome) "
                    '(rate(voicereel_outbox_messages_total{kind="mail"}[15m]))'
                },
            ),
            Panel(
                "Jobs done a minute",
                {"": '60 * sum(rate(voicereel_job_ends_total{outcome="succeeded"}[15m]))'},
            ),
        ),
    ),
    "slo": (
        "VoiceReel: service levels",
        (
            Panel(
                "Answered without a failure of ours, 3 days",
                {"": "1 - voicereel:api_errors:ratio_3d"},
                "percentunit",
                stat=True,
                about="The promise is 99.9 %.",
            ),
            Panel(
                "Jobs as fast as promised, 3 days",
                {"": "1 - voicereel:promises_broken:ratio_3d"},
                "percentunit",
                stat=True,
                about="The promise is 99.9 %.",
            ),
            Panel(
                "How fast the budget of failures burns",
                {
                    window: f"voicereel:api_errors:ratio_{window} / 0.001"
                    for window in ("5m", "1h", "6h", "1d", "3d")
                },
                about="1: it lasts a month, to the day. Somebody is woken at 14.4 and at 6.",
            ),
            Panel(
                "How fast the budget of broken promises burns",
                {
                    window: f"voicereel:promises_broken:ratio_{window} / 0.001"
                    for window in ("5m", "1h", "6h", "1d", "3d")
                },
            ),
            Panel(
                "Jobs taken up again, share",
                {
                    "": "sum(rate(voicereel_job_retries_total[15m])) / "
                    "sum(rate(voicereel_job_ends_total[15m]))"
                },
                "percentunit",
            ),
            Panel("Jobs that nobody takes up", {"": "max(voicereel_jobs_abandoned)"}),
        ),
    ),
}


def dashboard(uid: str) -> dict[str, Any]:
    """What Grafana reads: schema version 39, which is 10.4's."""
    title, panels = DASHBOARDS[uid]
    width = _WIDE // _COLUMNS
    return {
        "uid": f"voicereel-{uid}",
        "title": title,
        "schemaVersion": 39,
        "tags": ["voicereel"],
        "timezone": "utc",
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": [
            _panel(
                panel,
                number,
                {
                    "x": (number - 1) % _COLUMNS * width,
                    "y": (number - 1) // _COLUMNS * _HEIGHT,
                    "w": width,
                    "h": _HEIGHT,
                },
            )
            for number, panel in enumerate(panels, 1)
        ],
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "gridPos": place,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
            for at, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


if __name__ == "__main__":
    for name in DASHBOARDS:
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n")
