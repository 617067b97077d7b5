"""Lighthouse about the pages that are opened most: speed, accessibility, best practices."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.person import CHROMIUM, NODE_MODULES, PICTURES, Site, Visit

pytestmark = pytest.mark.services

_TRIES, _AGAIN = 3, "Please run Lighthouse again"


@pytest.mark.parametrize("path", ["/", "/studio/", "/usage"])
def test_lighthouse_is_pleased(
    member: Callable[..., Visit], account: Any, site: Site, tmp_path: Path, path: str
) -> None:
    if path == "/studio/":
        page = member().open("/studio")
        path = str(page.locator(".cards a").first.get_attribute("href"))
    cookies = "; ".join(f"{one['name']}={one['value']}" for one in account["cookies"])
    (tmp_path / "headers.json").write_text(json.dumps({"Cookie": cookies}))
    report = tmp_path / "report.json"
    for _ in range(_TRIES):
        done = subprocess.run(
            [
                *("node", str(NODE_MODULES / "lighthouse/cli/index.js"), site.url + path),
                *("--output", "json", "--output-path", str(report), "--quiet"),
                *("--only-categories", "performance,accessibility,best-practices"),
                *("--extra-headers", str(tmp_path / "headers.json")),
                "--chrome-flags=--headless=new --no-sandbox --disable-gpu --disable-background-networking",
            ],
            env={
                "CHROME_PATH": CHROMIUM,
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(tmp_path),
            },
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=180,
        )
        # A browser that was too slow to begin is no fault of the page's, and Lighthouse says so itself.
        if _AGAIN not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    judged = json.loads(report.read_text())
    assert judged["finalDisplayedUrl"] == site.url + path
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = path.split("_")[0].strip("/").replace("/", "-") or "home"
    (PICTURES / f"lighthouse-{name}.json").write_text(json.dumps(judged["categories"]))
    scores = {name: round(100 * one["score"]) for name, one in judged["categories"].items()}
    failed = [
        f"{name}: {audit['title']}"
        for name, audit in judged["audits"].items()
        if audit["score"] is not None and audit["score"] < 0.9
    ]
    assert min(scores.values()) >= 95, (scores, failed)
