"""Every page of a member's, looked at: by axe-core in both themes and languages, on a narrow screen, by a
validator of HTML, and for English that a Korean reader would see.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.person import NODE_MODULES, Site, Visit
from voicereel_site.guides import GUIDES
from voicereel_site.local_stack import ROOT

pytestmark = pytest.mark.services

_PUBLIC = [
    "/",
    "/account/login/",
    "/account/signup/",
    "/account/password/reset/",
    "/docs",
    "/status",
]
_OWN = [
    "/",
    "/studio",
    "/speakers",
    "/speakers/new",
    "/jobs",
    "/jobs?q=nothing+like+this",
    "/comparisons",
    "/comparisons/new",
    "/usage",
    "/service",
    "/status",
    "/invoices",
    "/billing",
    "/keys",
    "/members",
    "/webhooks",
    "/privacy",
    "/audit",
    "/docs",
    "/docs?q=captions",
    "/docs/reference/synthesize",
    "/nowhere",
    "/account/security/",
    "/account/security/totp/activate/",
    "/account/security/webauthn/",
    "/account/sessions/",
    "/account/email/",
    "/account/password/change/",
    *(f"/docs/{name}" for name in GUIDES),
]
_NARROW = {"width": 360, "height": 780}
_AS_BROWSERS = {"Accept": "text/html"}
_BAD = ("serious", "critical")
# What is no English to a Korean reader: names of things, and what people wrote themselves.
_NAMES = re.compile(
    r"VoiceReel|WebVTT|Alder Audio|Furnished|The last ferry|Anna|Ben|SHA-256|OpenAPI|Google|Authenticator"
    r"|Chrome|Linux|HeadlessChrome|Mozilla|AppleWebKit|Safari|KHTML|Gecko|Bearer|nightly"
)
_ENGLISH = re.compile(r"\b[A-Za-z]{2,}[ ,]+[a-z]{2,}\b")
# Texts that are shown, but for code and what says of itself that it is in another language.
_TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const parent = node.parentElement;
    if (parent.closest('script, style, template, code, pre, [lang=en], option, textarea, .transcript, .screen')) continue;
    if (node.textContent.trim()) found.push(node.textContent.trim().replace(/\\s+/g, ' '));
  }
  for (const one of document.querySelectorAll('[aria-label], [placeholder], [title]')) {
    if (one.closest('[lang=en], time')) continue;
    for (const name of ['aria-label', 'placeholder', 'title']) {
      if (one.getAttribute(name)) found.push(one.getAttribute(name));
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def furnished(site: Site, chromium: Browser) -> tuple[Any, list[str]]:
    """Somebody who has one of everything: what their browser keeps, and their pages."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    guest = Visit(site, context, context.new_page(), [])
    guest.sign_up(organisation="Furnished")
    page = guest.page
    guest.put_on_plan("standard")
    page.get_by_role("button", name="Use the sample voices").click()
    expect(page.locator("#render")).to_be_enabled(timeout=180_000)
    page.locator("#render").click()
    listen = page.locator("#listen [data-job]")
    expect(listen).to_have_attribute("data-status", "succeeded", timeout=180_000)
    draft = page.url.removeprefix(site.url)
    job = listen.get_attribute("data-job")
    guest.open("/comparisons/new")
    page.fill("#title", "Alder Audio")
    page.fill("#texts", "One.")
    page.locator("#speaker-1").select_option(label="Anna")
    page.locator("#speaker-2").select_option(label="Ben")
    page.get_by_role("button", name="Render and compare").click()
    expect(page.locator("#listen-url")).to_be_visible(timeout=180_000)
    comparison = page.url.removeprefix(site.url)
    listening = page.locator("#listen-url").inner_text().removeprefix(site.url)
    page.goto(site.url + listening)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="No difference").click()
    guest.open("/keys")
    page.fill("[name=label]", "nightly")
    page.get_by_role("button", name="Create the key").click()
    guest.open("/webhooks")
    page.fill("[name=url]", "https://93.184.215.14/hooks")
    page.get_by_role("button", name="Add").click()
    guest.open("/webhooks")
    webhook = page.locator("tbody a").first.get_attribute("href")
    guest.open("/speakers")
    speaker = page.locator(".cards a").first.get_attribute("href")
    subprocess.run(
        [sys.executable, "-m", "tests.operations.next_month", "0"],
        cwd=ROOT,
        env=site.stack.operators,
        capture_output=True,
        check=True,
    )
    guest.open("/invoices")
    invoice = page.locator("tbody a").first.get_attribute("href")
    kept = context.storage_state()
    context.close()
    return kept, [
        *_OWN,
        *(draft, f"/jobs/{job}", comparison, listening),
        *(str(webhook), str(speaker), str(invoice)),
    ]


def looked_at(path: str) -> str:
    """A page's name, for its picture."""
    path = re.sub(r"/listen/.*", "/listen", path)
    return re.sub(r"_[0-9a-z]{20,}", "", path).strip("/").replace("/", "-") or "home"


def settled(guest: Visit, path: str) -> None:
    guest.open(path)
    if guest.page.locator("[data-player]").count():
        guest.page.wait_for_selector("[data-player][data-ready=yes]")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    visit: Callable[..., Visit], furnished: tuple[Any, list[str]], theme: str, language: str
) -> None:
    kept, own = furnished
    options = {"locale": "ko-KR" if language == "ko" else "en-US", "color_scheme": theme}
    found = []
    for guest, paths in ((visit(**options), _PUBLIC), (visit(storage_state=kept, **options), own)):
        for path in paths:
            settled(guest, path)
            guest.picture(f"{looked_at(path)}-{language}-{theme}")
            violations = Axe().run(guest.page).response["violations"]
            found += [
                f"{path}: {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['any'][:1]}"
                for one in violations
                if one["impact"] in _BAD
            ]
        guest.trouble[:] = [one for one in guest.trouble if "/nowhere" not in one]
    assert found == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_no_page_scrolls_sideways_on_a_narrow_screen(
    visit: Callable[..., Visit], furnished: tuple[Any, list[str]], language: str
) -> None:
    kept, own = furnished
    options = {"locale": "ko-KR" if language == "ko" else "en-US", "viewport": _NARROW}
    wide = []
    for guest, paths in ((visit(**options), _PUBLIC), (visit(storage_state=kept, **options), own)):
        for path in paths:
            settled(guest, path)
            guest.picture(f"{looked_at(path)}-{language}-360")
            if guest.page.evaluate("() => document.documentElement.scrollWidth") > _NARROW["width"]:
                wide.append(path)
        guest.trouble[:] = [one for one in guest.trouble if "/nowhere" not in one]
    assert wide == []


def test_a_korean_reader_sees_no_english(
    visit: Callable[..., Visit], furnished: tuple[Any, list[str]]
) -> None:
    kept, own = furnished
    english = []
    for guest, paths in (
        (visit(locale="ko-KR"), _PUBLIC),
        (visit(locale="ko-KR", storage_state=kept), own),
    ):
        for path in paths:
            settled(guest, path)
            assert guest.page.locator("html").get_attribute("lang") == "ko", path
            for text in guest.page.evaluate(_TEXTS):
                if _ENGLISH.search(_NAMES.sub("", text)):
                    english.append(f"{path}: {text[:120]}")
        guest.trouble[:] = [one for one in guest.trouble if "/nowhere" not in one]
    assert sorted(set(english)) == []


def test_the_html_of_every_page_is_valid(
    visit: Callable[..., Visit], furnished: tuple[Any, list[str]], tmp_path: Path
) -> None:
    kept, own = furnished
    guest, stranger = visit(storage_state=kept), visit()
    for path in own:
        reply = guest.context.request.get(guest.site.url + path, headers=_AS_BROWSERS)
        (tmp_path / f"{looked_at(path)}.html").write_bytes(reply.body())
    for path in _PUBLIC:
        reply = stranger.context.request.get(guest.site.url + path, headers=_AS_BROWSERS)
        (tmp_path / f"public-{looked_at(path)}.html").write_bytes(reply.body())
    judged = subprocess.run(
        [
            *("java", "-jar", str(NODE_MODULES / "vnu-jar/build/dist/vnu.jar")),
            *("--format", "json", "--exit-zero-always", "--stdout", "--errors-only"),
            *map(str, sorted(tmp_path.glob("*.html"))),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    said = [
        f"{Path(one['url']).name}: {one['message']}: {one.get('extract', '')[:160]}"
        for one in json.loads(judged.stdout)["messages"]
    ]
    assert said == []
