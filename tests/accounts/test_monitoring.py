"""What the monitoring's files say is what there is: metrics, labels, pages, commands. A real Prometheus is
asked in tests/operations/test_monitoring.py.
"""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class
from prometheus_client import REGISTRY

from synthesis.fleet_metrics import FleetCollector
from voicereel_site import metrics
from voicereel_site.http_metrics import HttpMetrics

MONITORING: Path = settings.BASE_DIR / "docker/monitoring"
RUNBOOKS: Path = settings.BASE_DIR / "templates/docs/runbooks"
OF_PROMETHEUS = {"up"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "prometheus/rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def expressions() -> Iterator[str]:
    """All PromQL of rules and dashboards."""
    yield from (rule["expr"] for rule in rules())
    for path in (MONITORING / "grafana/dashboards").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])


def metrics_in(expression: str) -> set[str]:
    """The series that an expression asks for."""
    without_labels = re.sub(r"\{[^}]*\}|by \([^)]*\)", "", expression)
    names = re.findall(r"\b(?:voicereel|django)[a-z0-9_:]*[a-z0-9]|\bup\b", without_labels)
    return set(names)


def series_known() -> dict[str, tuple[str, ...]]:
    """The names of all series that our processes show, with their labels."""
    pytest.importorskip("torch")  # the engine's are beside it
    from synthesis.engines.fish import metrics as engine_metrics

    HttpMetrics.get_instance()
    known: dict[str, tuple[str, ...]] = {}
    for collector in set(REGISTRY._names_to_collectors.values()):
        labels = getattr(collector, "_labelnames", ())
        for name in REGISTRY._get_names(collector):
            known[name] = labels
    for metric in FleetCollector().collect():
        labels = tuple(metric.samples[0].labels)
        known[metric.name] = labels
    assert engine_metrics.READY._name in known
    assert metrics.LINES._name in known
    return known


@pytest.mark.django_db
def test_every_metric_that_is_asked_for_exists() -> None:
    known = set(series_known()) | {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for expression in expressions() for name in metrics_in(expression)}
    assert len(asked) > 50
    # PostgreSQL's own are told on PostgreSQL alone.
    of_postgres = {"voicereel_postgres_replicas", "voicereel_archive_oldest_seconds"}
    assert asked - known - OF_PROMETHEUS <= of_postgres


@pytest.mark.django_db
def test_labels_do_not_grow() -> None:
    labels = {
        name: names
        for name, names in series_known().items()
        if names
        and name.startswith(("voicereel_", "django_http"))
        and not name.endswith("_created")
    }
    assert {name for names in labels.values() for name in names} == {
        "cause",  # of the engine's, an Enum
        "kept",  # yes, no
        "kind",  # of outbox messages
        "method",
        "outcome",
        "queue",
        "server",
        "state",
        "status",
        "task",
        "view",
    }


def test_every_alert_has_its_page_and_no_page_is_left_over() -> None:
    pages = {alert["annotations"]["runbook"] for alert in alerts()}
    assert len(pages) > 20
    for page in pages:
        text = (settings.BASE_DIR / page).read_text()
        assert re.search(r"^# .+\n\n[^#]{30,}## Look\n\n- .+## Do\n\n1\. ", text, re.DOTALL), page
    linked = {
        name
        for path in RUNBOOKS.glob("*.md")
        for name in re.findall(r"\]\(([a-z-]+)\.md\)", path.read_text())
    }
    here = {path.stem for path in RUNBOOKS.glob("*.md")}
    assert linked <= here
    assert here == {Path(page).stem for page in pages} | {"restore"}


def test_commands_of_the_pages_exist() -> None:
    named = {
        (command, option)
        for path in RUNBOOKS.glob("*.md")
        for command, rest in re.findall(r"manage\.py (\w+)([^`]*)`", path.read_text())
        for option in re.findall(r"--[a-z-]+", rest) or [""]
    }
    assert len(named) > 8
    apps = get_commands()
    for name, option in named:
        parser = load_command_class(apps[name], name).create_parser("manage.py", name)
        assert not option or option in parser._option_string_actions, (name, option)


def test_metrics_of_the_pages_exist() -> None:
    text = " ".join(path.read_text() for path in RUNBOOKS.glob("*.md"))
    named = set(re.findall(r"voicereel_\w+_total", text))
    assert named == {"voicereel_outages_total"}
    assert metrics.OUTAGES._name + "_total" in named


def test_every_alert_is_tested_both_ways() -> None:
    tests = [
        test
        for path in (MONITORING / "prometheus").glob("tests*.yml")
        for test in yaml.safe_load(path.read_text())["tests"]
    ]
    cases = {
        (case["alertname"], bool(case["exp_alerts"]))
        for test in tests
        for case in test["alert_rule_test"]
    }
    assert cases == {(alert["alert"], fires) for alert in alerts() for fires in (True, False)}


def test_whom_an_alert_wakes() -> None:
    config = yaml.safe_load((MONITORING / "prometheus/alertmanager.yml").read_text())
    assert {alert["labels"]["severity"] for alert in alerts()} == {"page", "ticket"}
    assert {one["name"] for one in config["receivers"]} == {"page", "ticket"}
    names = {alert["alert"] for alert in alerts()}
    for rule in config["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            for part in matcher.partition("=")[2].lstrip("~").strip('"').split("|"):
                assert any(re.fullmatch(part, name) for name in names), part


def test_dashboards_are_as_their_table_says() -> None:
    table = runpy.run_path(str(MONITORING / "grafana/dashboards.py"))
    folder = MONITORING / "grafana/dashboards"
    assert {path.stem for path in folder.glob("*.json")} == set(table["DASHBOARDS"])
    for name in table["DASHBOARDS"]:
        made = json.loads((folder / f"{name}.json").read_text())
        assert made == table["dashboard"](name), "run `make dashboards`"
        panels = made["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels) > 4
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
        assert len(set(places)) == len(places)


def test_loki_has_three_labels() -> None:
    text = (MONITORING / "loki/alloy.config").read_text()
    (kept,) = re.findall(r"stage\.label_keep \{\s*values = \[(.*)\]", text)
    assert json.loads(f"[{kept}]") == ["app", "environment", "level"]
    given = re.findall(r"labels += \{(.*)\}", text) + re.findall(
        r"stage\.labels \{\s*values = \{(.*)\}", text
    )
    assert {name for labels in given for name in re.findall(r"(\w+) = ", labels)} == {
        "app",
        "environment",
        "level",
    }
    limits = yaml.safe_load((MONITORING / "loki/loki.yml").read_text())["limits_config"]
    assert limits["max_label_names_per_series"] <= 5
