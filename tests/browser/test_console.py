"""The operators' console in a browser: a job that failed, a tenant that is suspended, a look in a member's
place, the month's close, and the front page as it moves.
"""

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import voicereel
from axe_playwright_python.sync_playwright import Axe
from django.contrib.admin.utils import unquote
from playwright.sync_api import Browser, ViewportSize, expect

from tests.browser.person import Site, Visit
from tests.e2e.human_speech import two_cities
from voicereel_site.local_stack import ROOT

pytestmark = pytest.mark.services

_MOVES_WITHIN_S = 5.0
_BAD = ("serious", "critical")
_NARROW: ViewportSize = {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def operator(site: Site, chromium: Browser) -> Any:
    """What the browser of an operator keeps who has logged in with a second factor."""
    context = chromium.new_context()
    guest = Visit(site, context, context.new_page(), [])
    guest.log_in_as_operator()
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def console(visit: Callable[..., Visit], operator: Any) -> Callable[..., Visit]:
    return lambda **options: visit(storage_state=operator, **options)


@pytest.fixture(scope="module")
def customer(site: Site) -> Iterator[tuple[str, voicereel.Client, str]]:
    """A customer's tenant, its client, and a speaker of its own."""
    key = site.stack.manage("create_tenant", "Heron Films")
    client = voicereel.Client(key, site.url)
    speaker = client.register_speaker("Anna", two_cities(), consent=True)
    client.wait_for_speaker(speaker.id, timeout_s=60)
    yield key, client, speaker.id
    client.close()


def test_a_failed_job_is_found_explained_and_requeued(
    site: Site, console: Callable[..., Visit], customer: tuple[str, voicereel.Client, str]
) -> None:
    _key, client, speaker = customer
    # Of a test key: what was finished once, and made to look as if it failed, is not billed twice.
    testing = voicereel.Client(str(client.create_key(mode="test").key), site.url)
    job = testing.synthesize([voicereel.Line(speaker, "The merger closes on Friday.")])
    testing.wait_for_job(job.id, timeout_s=60)
    with sqlite3.connect(site.folder / "voicereel.sqlite3", timeout=20) as database:
        database.execute(
            "UPDATE synthesis_job SET status = 'failed', error_code = 'line_failed', "
            "error_detail = 'Line 1 could not be spoken.' WHERE id = ?",
            [job.id],
        )
    operator = console()
    page = operator.open("/admin/")
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.goto(f"{page.url}?status__exact=failed")
    operator.picture("console-jobs-en")
    page.get_by_role("link", name=job.id).click()
    expect(page.locator("main, #main").first).to_contain_text("Line 1 could not be spoken.")
    assert "merger" not in page.content()
    operator.picture("console-job-en")
    page.goto(f"{site.url}/admin/synthesis/job/?q={job.id}")
    page.locator("input[name=_selected_action]").check()
    page.locator("select[name=action]").select_option("requeue")
    page.locator("button[name=index], button:has-text('Run')").first.click()
    expect(page.locator("body")).to_contain_text(f"{job.id} is queued again.")
    assert client.wait_for_job(job.id, timeout_s=60).status == "succeeded"


def test_content_opens_for_a_reason_alone(
    site: Site, console: Callable[..., Visit], customer: tuple[str, voicereel.Client, str]
) -> None:
    key, client, speaker = customer
    job = client.synthesize([voicereel.Line(speaker, "The merger closes on Friday.")])
    operator = console()
    page = operator.open(f"/admin/synthesis/job/{job.id}/change/")
    page.get_by_role("link", name="Open its content").click()
    assert "merger" not in page.content()
    page.fill("[name=reason]", "They hear a word twice in line 1.")
    page.get_by_role("button", name=f"Open the content of {job.id}").click()
    expect(page.locator("body")).to_contain_text("The merger closes on Friday.")
    events = httpx.get(
        f"{site.url}/v1/audit-events?action=content.opened",
        headers={"Authorization": f"Bearer {key}"},
    ).json()
    assert events["data"][0]["details"] == {"reason": "They hear a word twice in line 1."}


def test_a_suspended_tenants_next_request_is_refused(
    site: Site, console: Callable[..., Visit]
) -> None:
    key = site.stack.manage("create_tenant", "Debtors")
    asked = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{site.url}/v1/jobs", headers=asked).status_code == 200
    operator = console()
    page = operator.open("/admin/accounts/tenant/")
    page.get_by_role("link", name="Debtors").click()
    operator.picture("console-tenant-en")
    page.get_by_role("link", name="Suspend").click()
    page.fill("[name=reason]", "The bank called your transfer back.")
    page.get_by_role("button", name="Suspend Debtors").click()
    expect(page.locator("body")).to_contain_text("Debtors is suspended.")
    refused = httpx.get(f"{site.url}/v1/jobs", headers=asked)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_suspended")
    assert "The bank called your transfer back." in refused.json()["detail"]
    page.get_by_role("link", name="Let in again").click()
    page.get_by_role("button", name="Let Debtors in again").click()
    expect(page.locator("body")).to_contain_text("Debtors is let in again.")
    assert httpx.get(f"{site.url}/v1/jobs", headers=asked).status_code == 200


def test_an_operator_looks_in_a_members_place_and_the_audit_log_tells(
    site: Site, visit: Callable[..., Visit], console: Callable[..., Visit]
) -> None:
    member = visit()
    email = member.sign_up(organisation="Looked At")
    operator = console()
    page = operator.open(f"/admin/accounts/membership/?q={email}")
    page.locator("#result_list a, .result-list a, table a").filter(has_text=email).first.click()
    page.get_by_role("link", name="Impersonate").click()
    page.fill("[name=reason]", "They cannot find their invoice.")
    page.get_by_role("button", name=re.compile("Impersonate")).click()
    expect(page.locator(".impersonating")).to_contain_text("You may look only.")
    operator.open("/keys")
    operator.picture("console-impersonating-en")
    assert page.get_by_role("button", name=re.compile("Make")).count() == 0
    operator.open("/")
    page.get_by_role("button", name="End").click()
    expect(page).to_have_url(f"{site.url}/admin/")
    shown = member.open("/audit")
    expect(shown.locator("main")).to_contain_text("impersonation.started")
    expect(shown.locator("main")).to_contain_text("They cannot find their invoice.")


def test_the_month_is_closed_once_its_mismatch_is_resolved(
    site: Site, console: Callable[..., Visit]
) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.browser.last_month"],
        cwd=ROOT,
        env=site.stack.operators,
        check=True,
    )
    operator = console()
    page = operator.open("/admin/")
    page.get_by_role("link", name="Monthly close").click()
    expect(page.get_by_role("button", name="Finalize 0 invoices")).to_be_disabled()
    expect(page.locator("body")).to_contain_text("held: its books do not agree")
    operator.picture("console-close-en")
    row = page.get_by_role("row").filter(has_text="the account 5")
    row.get_by_role("button", name="Count again").click()
    expect(page.locator("body")).to_contain_text("Counted again from the ledger.")
    page.get_by_role("button", name="Finalize 1 invoice").click()
    expect(page.locator("body")).to_contain_text("1 invoices were finalized")
    page.get_by_role("link", name="Invoices", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Late Books")).to_contain_text("VR20")


def test_the_front_page_moves_within_five_seconds_of_an_event(
    site: Site, console: Callable[..., Visit], customer: tuple[str, voicereel.Client, str]
) -> None:
    key, client, speaker = customer
    operator = console()
    page = operator.open("/admin/")
    figure = page.locator("[data-figure=requests]")
    expect(figure).to_be_visible()
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))

    def number(name: str) -> int:
        text = page.locator(f"[data-figure={name}]").inner_text()
        return int(re.sub(r"\D", "", text) or 0)

    before = number("requests")
    for _ in range(5):
        httpx.get(f"{site.url}/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    _until(lambda: number("requests") >= before + 5)
    # A job that is long enough to be seen at work.
    lines = [
        voicereel.Line(speaker, f"This is line number {n} of a longer script.") for n in range(12)
    ]
    job = client.synthesize(lines)
    _until(lambda: number("working") + number("waiting") > 0)
    client.wait_for_job(job.id, timeout_s=120)
    _until(lambda: number("working") + number("waiting") == 0)
    assert "$" in page.locator("[data-figure=revenue]").inner_text()
    assert number("workers") >= 1
    assert loads == []
    operator.picture("console-front-en")


def _until(holds: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < _MOVES_WITHIN_S
        time.sleep(0.1)


_PAGES = {
    "front": "/admin/",
    "tenants": "/admin/accounts/tenant/",
    "jobs": "/admin/synthesis/job/",
    "audit": "/admin/accounts/auditevent/",
    "close": "/admin/billing/invoice/close",
    "workers": "/admin/synthesis/worker/",
    "usage-events": "/admin/billing/usageevent/",
    "speakers": "/admin/speakers/speaker/",
    "webhooks": "/admin/accounts/webhookendpoint/",
    "dead-letters": "/admin/accounts/outboxmessage/",
}


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_whoever_cannot_see_or_has_a_small_screen_uses_the_console(
    console: Callable[..., Visit],
    customer: tuple[str, voicereel.Client, str],
    language: str,
    theme: str,
) -> None:
    operator = console(locale=language, color_scheme=theme)
    page = operator.open("/admin/accounts/tenant/")
    tenant = page.get_by_role("link", name="Heron Films").first
    own = {"tenant": str(tenant.get_attribute("href")).split("?")[0]}
    tenant_id = unquote(own["tenant"].split("/")[-3])
    own["suspend"] = f"/admin/accounts/tenant/{tenant_id}/suspend"
    own["limits"] = f"/admin/accounts/tenant/{tenant_id}/limits"
    own["usage"] = f"/admin/billing/billingaccount/{tenant_id}/usage"
    trouble = []
    for name, path in (_PAGES | own).items():
        page = operator.open(path)
        if name == "front":
            expect(page.locator("[data-figure=requests]")).to_be_visible()
        found = Axe().run(page).response["violations"]
        trouble += [
            f"{path}: {one['id']} {node['target']} {node.get('failureSummary', '')}"
            for one in found
            if one["impact"] in _BAD
            for node in one["nodes"]
        ]
        operator.picture(f"console-{name}-{language}-{theme}")
        page.set_viewport_size(_NARROW)
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > _NARROW["width"]:
            trouble.append(f"{path}: {wide} pixels wide")
        page.set_viewport_size({"width": 1280, "height": 900})
    assert trouble == []
