"""Quotes, usage, invoices and limits, in the client and on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from voicereel import Client, CostLimitExceeded, QuotaExceeded
from voicereel.billing_commands import money
from voicereel.cli import main

from voicereel_site.examples import EXAMPLES

from .scripted_server import Reply, ScriptedServer, document, problem

INVOICE: dict[str, Any] = EXAMPLES["InvoiceResponse"]
LINE = {"speaker_id": "spk_1", "text": "Hello."}


def page(*rows: dict[str, Any]) -> Reply:
    return document({"data": list(rows), "next_cursor": None})


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (150, "USD", "1.50 USD"),
        (5, "EUR", "0.05 EUR"),
        (-1_234_567, "USD", "-12,345.67 USD"),
        (12_300, "KRW", "12,300 KRW"),
        (0, "KRW", "0 KRW"),
    ],
)
def test_money_is_shown_as_people_write_it(amount: int, currency: str, shown: str) -> None:
    assert money(amount, currency) == shown


def test_a_preview_makes_nothing(
    client: Client, server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = [{"pointer": "/script/0/text", "line_id": "1", "detail": "Too long."}]
    refused = EXAMPLES["PreviewResponse"] | {
        "valid": False,
        "errors": errors,
        "code": "validation_error",
        "detail": "Too long.",
    }
    server.script(
        "POST", "/v1/synthesize", document(EXAMPLES["PreviewResponse"]), document(refused)
    )
    preview = client.preview([LINE], max_cost_minor=7, retention_hours="forever")
    assert (preview.valid, preview.highest_price.amount_minor) == (True, 5)
    assert server.received[-1].path == "/v1/synthesize?dry_run=true"
    assert json.loads(server.received[-1].body) == {
        "script": [LINE],
        "max_cost_minor": 7,
        "retention_hours": None,
    }
    script = tmp_path / "script.json"
    script.write_text(json.dumps([LINE]))
    assert main(["synthesize", str(script), "--dry-run", "--max-cost", "7"]) == 0
    out = capsys.readouterr().out
    assert "it would be refused: Too long." in out
    assert "0.05 USD at most, before tax" in out
    assert "line 1: Too long." in out


def test_refusals_of_money_have_classes_and_an_exit_code(
    client: Client, server: ScriptedServer, tmp_path: Path
) -> None:
    server.script(
        "POST",
        "/v1/synthesize",
        problem(402, "cost_limit_exceeded", "Too dear."),
        problem(402, "quota_exceeded", "Too much."),
    )
    with pytest.raises(CostLimitExceeded):
        client.synthesize([LINE], max_cost_minor=1)
    with pytest.raises(QuotaExceeded):
        client.synthesize([LINE])
    script = tmp_path / "script.json"
    script.write_text(json.dumps([LINE]))
    assert main(["synthesize", str(script), "--no-wait"]) == 5


def test_usage_by_day_group_and_month(
    client: Client, server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grouped = EXAMPLES["UsageResponse"]["data"][0] | {"project": "podcast"}
    server.script(
        "GET",
        "/v1/usage",
        document(EXAMPLES["UsageResponse"]),
        document(EXAMPLES["UsageResponse"] | {"data": [grouped]}),
    )
    usage = client.usage()
    assert (usage.audio_ms, usage.rows[0].project, usage.time_zone) == (5_480, None, "UTC")
    assert main(["usage", "--by", "project"]) == 0
    assert "group_by=project" in server.received[-1].path
    assert "podcast" in capsys.readouterr().out
    server.script("GET", "/v1/usage/reports/2026-11", document(EXAMPLES["MonthReportResponse"]))
    server.script("GET", "/v1/usage/reports/2026-11/pdf", Reply(200, b"%PDF-1.4"))
    assert client.usage_report("2026-11").net.amount_minor == 18_691
    path = tmp_path / "month.pdf"
    assert main(["usage", "--month", "2026-11", "-o", str(path)]) == 0
    assert "186.91 USD" in capsys.readouterr().out
    assert path.read_bytes() == b"%PDF-1.4"
    assert main(["usage", "-o", str(path)]) == 2


def test_invoices_are_listed_and_downloaded(
    client: Client, server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script("GET", "/v1/invoices", page(INVOICE))
    [invoice] = client.iter_invoices(status="finalized")
    assert "status=finalized" in server.received[-1].path
    assert (invoice.number, invoice.total_minor, invoice.lines[0].kind) == (
        "VR2026-000042",
        18_691,
        "audio",
    )
    server.script("GET", f"/v1/invoices/{invoice.id}", document(INVOICE))
    assert client.get_invoice(invoice.id) == invoice
    assert main(["invoices", "list"]) == 0
    assert "VR2026-000042" in capsys.readouterr().out
    server.script("GET", f"/v1/invoices/{invoice.id}/events", Reply(200, b"line_id,event_id\n"))
    path = tmp_path / "events.csv"
    assert main(["invoices", "download", invoice.id, "-o", str(path), "--events"]) == 0
    assert path.read_bytes().startswith(b"line_id")


def test_the_months_limit_is_shown_and_set(
    client: Client, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: dict[str, Any] = EXAMPLES["BillingResponse"]
    server.script("GET", "/v1/billing", document(shown))
    assert client.billing().cap_minor == 50_000
    assert main(["billing", "show"]) == 0
    assert "limit of a month: 500.00 USD" in capsys.readouterr().out
    server.script("PATCH", "/v1/billing", document(shown | {"cap_minor": None}))
    assert main(["billing", "limit", "none"]) == 0
    assert json.loads(server.received[-1].body) == {"cap_minor": None}
    assert main(["billing", "limit", "1.5"]) == 2
    server.script("POST", "/v1/billing/card", document({"url": "https://checkout.example/x"}))
    assert client.card_page("https://customer.example/") == "https://checkout.example/x"
    assert json.loads(server.received[-1].body) == {"return_url": "https://customer.example/"}
