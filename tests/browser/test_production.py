"""The pages on PostgreSQL, with the roles that see one tenant's rows, and files in an object store."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.person import Site, Visit
from tests.fakes.stripe_server import StripeServer
from tests.operations.conftest import MakeSite, make_site  # noqa: F401

pytestmark = pytest.mark.services


def test_audio_plays_from_an_object_store(make_site: MakeSite, chromium: Browser) -> None:  # noqa: F811
    with StripeServer() as stripe:
        running = make_site("production", s3=True)
        site = Site(running.stack, Path(running.stack.log_name), stripe)
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        guest = Visit(site, context, context.new_page(), [])
        page = guest.page
        page.on(
            "console",
            lambda said: guest.trouble.append(said.text) if said.type == "error" else None,
        )
        guest.sign_up()
        page.get_by_role("button", name="Use the sample voices").click()
        expect(page.locator("#render")).to_be_enabled(timeout=180_000)
        page.locator("#render").click()
        page.wait_for_selector("[data-player][data-ready=yes]", timeout=180_000)
        guest.until("() => document.querySelector('[data-player] audio').currentTime > 0.3")
        # It came by a redirect, which the policy of pages has to know.
        assert running.s3 is not None
        asked = context.request.get(
            site.url + str(page.locator("[data-player] audio").get_attribute("src")),
            max_redirects=0,
        )
        assert asked.headers["location"].startswith(running.s3.url)
        with page.expect_download() as download:
            page.get_by_text("Download", exact=True).click()
            page.get_by_role("link", name="WebVTT").click()
        assert download.value.path().read_text().startswith("WEBVTT")
        for path in ("/", "/jobs", "/usage", "/billing", "/keys", "/members", "/privacy", "/audit"):
            guest.open(path)
            expect(page.locator("h1")).to_be_visible()
        page.goto(site.url + "/account/security/")
        expect(page.locator("nav.main")).to_be_visible()
        context.close()
        assert guest.trouble == []
