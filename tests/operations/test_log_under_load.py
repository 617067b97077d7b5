"""Ten thousand lines of the log, of requests, jobs, mails, webhooks and mistakes: JSON all of them, with ids, and
nothing in them that was planted to be found.
"""

import json
import secrets
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.operations.conftest import MakeSite, Site, ready_speaker
from tests.operations.servers import wait_until

pytestmark = pytest.mark.services

LINES = 10_000
THREADS = 4
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Planted:
    """What no line may hold, by what it is. Each is said to the service in several ways."""

    def __init__(self) -> None:
        mark = secrets.token_hex(6)
        self.script = f"The heron {mark} sleeps at noon"
        self.title = f"Title {mark}a"
        self.name = f"Name {mark}b"
        self.email = f"somebody.{mark}@private.example"
        self.password = f"pass-{secrets.token_hex(12)}"
        self.metadata = f"meta-{secrets.token_hex(12)}"
        self.hook = f"hook-{secrets.token_hex(12)}"
        self.query = f"query-{secrets.token_hex(12)}"
        self.wrong_key = f"vr_live_{secrets.token_urlsafe(40)}"
        self.made: list[str] = []  # by the service: keys, links, signing secrets

    def all(self) -> list[str]:
        return [*(one for one in vars(self).values() if isinstance(one, str)), *self.made]


def test_ten_thousand_lines_are_json_with_ids_and_without_secrets(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = make_site(
        "production",
        VOICEREEL_WEBHOOK_NETWORKS="127.0.0.0/8",
        # Mail that is printed would be among the lines.
        VOICEREEL_MAIL_URL=f"filemail://{tmp_path}",
    )
    planted = Planted()
    planted.made.append(site.key)
    [(tenant_id,)] = site.rows("SELECT id FROM accounts_tenant")
    site.stack.manage("set_plan", tenant_id, "enterprise")
    speaker = ready_speaker(site.client())
    jobs = [say_everything(site, planted, speaker.id, n) for n in range(3)]
    log = Path(site.stack.log_name)
    ask_until(site, jobs, planted, log)
    wait_until(lambda: "webhook.attempt" in log.read_text(), "a webhook's line", 60)
    text = log.read_text()
    lines = [line for line in text.splitlines() if line]
    assert len(lines) >= LINES
    entries = [as_json(line) for line in lines]
    for secret in planted.all():
        # With the pieces that a log would show of it, too.
        for part in {secret, secret[8:28]}:
            at = text.find(part)
            assert at < 0, (part, text[max(0, at - 200) : at + 200])
    events: Counter[str] = Counter(entry["event"] for entry in entries)
    assert events["request"] > LINES * 0.9
    assert {"job.started", "job.succeeded", "webhook.attempt"} <= set(events)
    for entry in entries:
        assert {"level", "at", "logger", "event"} <= set(entry), entry
        if entry["event"] == "request":
            assert entry["request_id"], entry
            assert "route" in entry, entry
        if entry["event"].startswith("job."):
            assert entry["tenant_id"] == tenant_id, entry
            assert entry["job_id"].startswith("job_"), entry
            assert entry["request_id"].startswith("planted-"), entry
            assert entry["trace_id"] == TRACE, entry


def as_json(line: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError as exc:
        raise AssertionError(f"no JSON: {line[:300]}") from exc
    return entry


def say_everything(site: Site, planted: Planted, speaker_id: str, number: int) -> str:
    """Give the service each secret where it belongs. Returns a job's id."""
    headers = {
        "Authorization": f"Bearer {site.key}",
        "X-Request-ID": f"planted-{number}-{secrets.token_hex(4)}",
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    }
    with httpx.Client(base_url=site.stack.url, headers=headers, timeout=30) as http:
        hook = http.post(
            "/v1/webhook-endpoints",
            json={"url": f"http://127.0.0.1:9/{planted.hook}", "description": planted.name},
        ).json()
        planted.made.append(hook["secret"])
        made = http.post("/v1/keys", json={"label": planted.name}).json()
        planted.made.append(made["key"])
        entry = {"language": "en", "written": planted.name, "spoken": planted.name}
        for method, path, sent in (
            ("PATCH", f"/v1/speakers/{speaker_id}", {"name": planted.name}),
            ("PUT", "/v1/pronunciations", {"entries": [entry]}),
            ("PATCH", "/v1/billing", {"email": planted.email, "legal_name": planted.name}),
            ("POST", "/v1/invitations", {"email": f"{number}.{planted.email}", "role": "viewer"}),
        ):
            reply = http.request(method, path, json=sent)
            assert reply.is_success, reply.text
        body: dict[str, Any] = {
            "title": planted.title,
            "metadata": {"project": planted.metadata},
            "script": [{"speaker_id": speaker_id, "text": planted.script}],
        }
        job_id = str(http.post("/v1/synthesize", json=body).json()["id"])
        # What is refused says what was wrong, to whoever sent it.
        http.post("/v1/synthesize", json=body | {planted.query: planted.script})
        http.post("/v1/synthesize", json={"script": [{"text": planted.script, "speaker_id": "x"}]})
        http.post("/v1/synthesize", content=planted.script.encode())
        http.get(f"/v1/jobs/{planted.query}", params={"q": planted.query})
        http.get("/v1/jobs", headers={"Authorization": f"Bearer {planted.wrong_key}"})
        http.get(f"/{planted.wrong_key}")
        http.get("/v1/jobs", headers={"X-Request-ID": f"{planted.query} {planted.email}"})
        deadline = time.monotonic() + 60
        while (job := http.get(f"/v1/jobs/{job_id}").json())["status"] != "succeeded":
            assert time.monotonic() < deadline, job
            time.sleep(0.2)
        link = job["audio"]["url"]
        # Its signature: what is before it are ids, which the log has.
        planted.made.append(link.split("/files/")[1].split("/")[0].split(".")[-1])
        assert httpx.get(link).status_code == 200
        httpx.get(link.replace("/files/", "/files/x"))
    browser = httpx.Client(base_url=site.stack.url, timeout=30)
    with browser:
        page = browser.get("/account/login/")
        token = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form = {"login": planted.email, "password": planted.password, "csrfmiddlewaretoken": token}
        browser.post("/account/login/", data=form, headers={"Referer": site.stack.url})
    return job_id


def ask_until(site: Site, jobs: list[str], planted: Planted, log: Path) -> None:
    """Load, until there are as many lines as wanted; five minutes at most."""
    deadline = time.monotonic() + 300

    def is_enough() -> bool:
        with log.open("rb") as file:
            return sum(1 for _ in file) >= LINES

    def ask(number: int) -> None:
        headers = {"Authorization": f"Bearer {site.key}"}
        paths = [
            f"/v1/jobs/{jobs[number % len(jobs)]}",
            "/v1/speakers",
            f"/v1/jobs/{planted.query}",
        ]
        with httpx.Client(base_url=site.stack.url, headers=headers, timeout=30) as http:
            for n in range(600):
                assert http.get(paths[n % len(paths)]).status_code in (200, 404)

    with ThreadPoolExecutor(THREADS) as threads:
        while not is_enough():
            assert time.monotonic() < deadline, "too few lines in five minutes"
            list(threads.map(ask, range(THREADS)))
