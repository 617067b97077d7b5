"""Jobs: found, understood when they fail, tried again, and gone for good; and the reference, tried out."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.person import Visit

pytestmark = pytest.mark.services


def make_job(guest: Visit, title: str, text: str) -> str:
    """By the page of scripts. Returns the job's page."""
    page = guest.open("/studio")
    page.get_by_role("button", name="New script").click()
    page.locator("#title").fill(title)
    page.locator("#lines textarea").first.fill(text)
    page.locator(".line select").first.focus()
    page.locator(".line select").first.select_option(label="Ben")
    expect(page.locator("#render")).to_be_enabled()
    page.locator("#render").click()
    job = page.locator("#listen [data-job]")
    expect(job).to_have_attribute("data-status", "succeeded", timeout=180_000)
    return f"/jobs/{job.get_attribute('data-job')}"


def test_a_job_is_found_by_its_title_downloaded_and_deleted(member: Callable[..., Visit]) -> None:
    guest = member()
    path = make_job(guest, "A heron at noon", "The heron sleeps at noon.")
    make_job(guest, "Another one", "Another one.")
    page = guest.open("/jobs")
    page.locator("#q").type("heron")
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    expect(page).to_have_url(guest.site.url + "/jobs?q=heron&status=")
    page.locator("#status").select_option("failed")
    expect(page.locator("#rows")).to_contain_text("No job matches.")
    page.locator("#status").select_option("succeeded")
    expect(page).to_have_url(guest.site.url + "/jobs?q=heron&status=succeeded")
    # Slowly: what leaving the field of words does must not replace the row under the finger.
    page.locator("#rows tbody a").click(delay=500)
    expect(page.locator("h1")).to_have_text("A heron at noon")
    page.get_by_text("Download", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="SRT").click()
    assert download.value.suggested_filename == "A heron at noon.srt"
    assert "Ben: The heron sleeps at noon." in download.value.path().read_text()
    page.get_by_role("button", name="Edit a copy").click()
    expect(page.locator("#lines textarea").first).to_have_value("The heron sleeps at noon.")
    guest.open(path)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".messages")).to_contain_text("The job and its files were deleted.")
    expect(page.locator("#rows")).not_to_contain_text("A heron at noon")


def test_a_job_that_is_canceled_says_so_and_is_tried_again(member: Callable[..., Visit]) -> None:
    guest = member()
    page = guest.open("/studio")
    page.get_by_role("button", name="New script").click()
    # Long enough to be canceled in the middle.
    page.locator("#lines textarea").first.fill("This goes on for quite a while. " * 30)
    page.locator(".line select").first.focus()
    page.locator(".line select").first.select_option(label="Ben")
    expect(page.locator("#render")).to_be_enabled()
    page.locator("#render").click()
    page.get_by_role("link", name="Its job").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#job-state .tag").first).to_have_text("canceled")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".messages")).to_contain_text("is tried again")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#job-state .tag").first).to_have_text("canceled")


def test_the_reference_runs_its_examples_on_the_readers_own_account(
    member: Callable[..., Visit],
) -> None:
    guest = member()
    page = guest.open("/docs")
    page.fill("#q", "speakers")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="GET /v1/speakers", exact=True).first.click()
    section = page.locator("#listSpeakers")
    section.get_by_text("Try it on your account").click()
    section.get_by_role("button", name="Send").click()
    expect(section.locator("[data-status]")).to_have_text("200 OK")
    expect(section.locator(".answer code")).to_contain_text('"name": "Anna"')


def test_the_reader_chooses_language_and_colours(visit: Callable[..., Visit]) -> None:
    guest = visit()
    page = guest.open("/docs/start")
    page.get_by_role("button", name="한국어").click()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("h1")).to_have_text("시작하기")
    before = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.locator("[data-theme-toggle]").click()
    guest.open("/docs/errors")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != before
    assert {cookie["name"] for cookie in guest.context.cookies()} >= {"theme", "zone"}
