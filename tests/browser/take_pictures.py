"""Takes the pictures of the documentation again, of the running product: ``make pictures``."""

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.person import ARGUMENTS, CHROMIUM, Site, Visit
from tests.fakes.stripe_server import StripeServer
from voicereel_site.local_stack import ROOT, LocalStack

_FOLDER = ROOT / "templates/static/pictures"
_COLOURS = 128  # a page has few, and the file a third of the bytes
_LOCALES = {"en": ("en-US", "America/New_York"), "ko": ("ko-KR", "Asia/Seoul")}
_AT_S = {"en": 2.2, "ko": 3.2}  # somewhere in the second line
_NAMES = {"en": "Harbour Radio", "ko": "하버 라디오"}


def take(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    _FOLDER.mkdir(exist_ok=True)
    picture.quantize(_COLOURS).save(_FOLDER / f"{name}.png", optimize=True)


def take_all(guest: Visit, language: str) -> None:
    page = guest.page
    guest.sign_up(f"mina-{language}@harbour.example", _NAMES[language])
    take(page, f"home-{language}")
    page.locator("form[action='/studio/sample-voices'] button").click()
    expect(page.locator("#render")).to_be_enabled(timeout=180_000)
    page.locator("#render").click()
    page.wait_for_selector("[data-player][data-ready=yes]", timeout=120_000)
    page.evaluate("() => { document.querySelector('[data-player] audio').pause(); }")
    page.evaluate(
        "(at) => { document.querySelector('[data-player] audio').currentTime = at; }",
        _AT_S[language],
    )
    page.wait_for_timeout(500)
    page.set_viewport_size({"width": 1280, "height": 1010})
    take(page, f"studio-{language}")
    page.set_viewport_size({"width": 1280, "height": 800})
    guest.open("/speakers/new")
    take(page, f"speaker-{language}")
    guest.open("/usage")
    take(page, f"usage-{language}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, StripeServer() as stripe:
        log = Path(folder) / "server.log"
        environment = {"VOICEREEL_ENGINE": "kokoro", "VOICEREEL_VAR": folder}
        with (
            log.open("ab") as file,
            LocalStack(environment=environment, log=file) as stack,
            sync_playwright() as driver,
        ):
            site = Site(stack, log, stripe)
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            for language, (locale, zone) in _LOCALES.items():
                context = browser.new_context(
                    viewport={"width": 1280, "height": 800},
                    locale=locale,
                    timezone_id=zone,
                    color_scheme="light",
                )
                context.set_default_timeout(30_000)
                take_all(Visit(site, context, context.new_page(), []), language)
                context.close()
            browser.close()


if __name__ == "__main__":
    main()
