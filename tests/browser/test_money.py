"""What an accountant sees: usage that rises as jobs end, and an invoice that is paid by card."""

import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.person import Site, Visit
from tests.operations.servers import wait_until
from voicereel_site.local_stack import ROOT

pytestmark = pytest.mark.services

_RISES_WITHIN_S = 5.0


def rendered(page: Page) -> None:
    page.locator("#render").click()
    expect(page.locator("#listen [data-job]")).to_have_attribute(
        "data-status", "succeeded", timeout=180_000
    )


def sample_draft(guest: Visit) -> Page:
    """The sample script, in a draft of its own."""
    page = guest.open("/studio")
    page.get_by_role("button", name="New script").click()
    page.locator("#lines textarea").nth(0).fill("One sentence that is rendered and counted.")
    page.locator(".line select").nth(0).focus()
    page.locator(".line select").nth(0).select_option(label="Anna")
    expect(page.locator("#render")).to_be_enabled()
    return page


def test_usage_rises_by_itself_when_a_job_ends(member: Callable[..., Visit]) -> None:
    guest = member()
    watching = guest.context.new_page()
    watching.goto(guest.site.url + "/usage")
    shown = watching.locator("[data-audio-ms]")
    before = int(shown.get_attribute("data-audio-ms") or 0)
    loads: list[str] = []
    watching.on("framenavigated", lambda frame: loads.append(frame.url))
    page = sample_draft(guest)
    rendered(page)
    ended = time.monotonic()
    wait_until(
        lambda: int(shown.get_attribute("data-audio-ms") or 0) > before, "usage that rises", 20
    )
    assert time.monotonic() - ended < _RISES_WITHIN_S
    assert loads == []
    expect(watching.locator("main")).to_contain_text("Anna")


def test_an_invoice_is_paid_by_a_card_that_was_just_given(
    site: Site, visit: Callable[..., Visit]
) -> None:
    guest = visit()
    guest.sign_up(organisation="Payers")
    page = guest.page
    guest.put_on_plan("standard")
    page.get_by_role("button", name="Use the sample voices").click()
    expect(page.locator("#render")).to_be_enabled(timeout=180_000)
    # 15 cents a minute: sixteen seconds come to four.
    expect(page.locator("#price")).to_have_text(re.compile(r"\$0\.0[1-9]"))
    rendered(page)
    closed = subprocess.run(
        [sys.executable, "-m", "tests.operations.next_month", "0"],
        cwd=ROOT,
        env=site.stack.operators,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "MISMATCH" not in closed.stdout
    guest.open("/invoices")
    expect(page.locator(".tag.finalized")).to_have_text("open")
    page.locator("tbody a").first.click()
    guest.picture("invoice")
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert download.value.path().read_bytes().startswith(b"%PDF")

    def on_stripes_page(route: Route) -> None:
        """The person gives a card there, and Stripe sends them back."""
        session = site.stripe.of_kind("checkout.session")[-1]
        site.stripe.give_card(session["id"])
        assert site.stripe.deliver(f"{site.url}/stripe/webhook") == 0
        route.fulfill(status=302, headers={"Location": session["success_url"]})

    page.route(f"{site.stripe.url}/pay/**", on_stripes_page)
    page.get_by_role("button", name="Pay by card").click()
    card = page.get_by_role("button", name="Pay with the card on file")
    for _ in range(60):  # until the event was taken
        page.wait_for_timeout(500)
        page.goto(page.url)
        if card.count():
            break
    card.click()
    expect(page.locator(".messages")).to_contain_text("The card is being charged")
    for _ in range(60):
        site.stripe.deliver(f"{site.url}/stripe/webhook")
        page.wait_for_timeout(500)
        page.goto(page.url)
        if page.locator(".tag.paid").count():
            break
    expect(page.locator(".tag.paid")).to_have_text("paid")
    [(_, charged)] = site.stripe.charges
    total = page.locator("tr", has_text="Total").locator("td").last.inner_text()
    assert total == f"${charged / 100:.2f}"
    assert charged > 0
    expect(page.locator("main")).to_contain_text("Paid by card")


def test_a_limit_of_a_month_is_set_and_holds(member: Callable[..., Visit]) -> None:
    guest = member()
    page = guest.open("/billing")
    page.fill("#cap", "12.5x")
    page.get_by_role("button", name="Save").first.click()
    expect(page.locator("main [role=alert]")).to_contain_text("is no amount in USD")
    guest.trouble[:] = [one for one in guest.trouble if "422" not in one]
    guest.open("/billing")
    page.fill("#cap", "12.50")
    page.get_by_role("button", name="Save").first.click()
    expect(page.locator(".messages")).to_contain_text("The limit was changed")
    assert page.input_value("#cap") == "12.50"
    page.fill("#cap", "")
    page.get_by_role("button", name="Save").first.click()
    assert page.input_value("#cap") == ""


def test_company_details_are_checked(member: Callable[..., Visit]) -> None:
    guest = member()
    page = guest.open("/billing")
    page.fill("[name=country]", "KR")
    page.fill("[name=tax_id]", "123-45-67890")
    page.get_by_role("button", name="Save").last.click()
    expect(page.locator(".errorlist")).to_contain_text("no business registration number")
    guest.trouble[:] = [one for one in guest.trouble if "422" not in one]
