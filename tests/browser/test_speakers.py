"""A voice is recorded in the browser, with a microphone that plays a person reading aloud."""

import re
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from playwright.sync_api import Page, Playwright, expect

from tests.browser.person import ARGUMENTS, CHROMIUM, Site, Visit
from tests.e2e.human_speech import two_cities

pytestmark = pytest.mark.services

_RECORDED_MS = 36_000


@pytest.fixture
def microphone(site: Site, driver: Playwright, account: Any, tmp_path: Path) -> Iterator[Visit]:
    """A member at a browser whose microphone hears a person, over and over."""
    speech, rate = soundfile.read(two_cities(), dtype="float32")
    speech = soxr.resample(speech if speech.ndim == 1 else speech[:, 0], rate, 48_000)
    path = tmp_path / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((np.clip(speech, -1, 1) * 32_000).astype("<i2").tobytes())
    arguments = [
        *ARGUMENTS,
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}",
    ]
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
    context = browser.new_context(storage_state=account, permissions=["microphone"])
    page = context.new_page()
    trouble: list[str] = []
    page.on(
        "console",
        lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: trouble.append(str(error)))
    yield Visit(site, context, page, trouble)
    browser.close()
    assert trouble == []


def record(page: Page, ms: int) -> None:
    page.locator("#record").click()
    page.wait_for_timeout(ms)
    page.locator("#record").click()
    expect(page.locator("#heard")).to_be_visible()


def test_a_voice_is_recorded_and_is_ready(microphone: Visit) -> None:
    page = microphone.open("/speakers/new")
    page.fill("#name", "Mina")
    record(page, 3_000)
    # Too short is said at once, and refused in plain words; nothing that was filled in is lost.
    expect(page.locator("#advice")).to_contain_text("Too short")
    page.check("#consent")
    page.locator("#send").click()
    expect(page.locator("#refused")).to_contain_text("at least 30 s are needed")
    microphone.trouble[:] = [one for one in microphone.trouble if "422" not in one]
    assert page.input_value("#name") == "Mina"
    page.locator("#record").click()
    page.wait_for_timeout(5_000)
    assert page.evaluate("() => document.getElementById('level').value") > 5
    microphone.picture("speaker-recording")
    page.wait_for_timeout(_RECORDED_MS - 5_000)
    page.locator("#record").click()
    page.locator("#send").click()
    expect(page).to_have_url(re.compile("/speakers/spk_"))
    expect(page.locator("#speaker-state .tag").first).to_have_text("ready", timeout=180_000)
    expect(page.locator("body")).to_contain_text("of speech were found")
    microphone.picture("speaker-ready")
    page.get_by_role("button", name="Hear it").click()
    expect(page.locator("#preview audio")).to_be_visible(timeout=180_000)


def test_a_speaker_is_renamed_and_retired(microphone: Visit) -> None:
    page = microphone.open("/speakers/new")
    page.fill("#name", "For a while")
    page.set_input_files("#audio", str(two_cities()))
    page.check("#consent")
    page.locator("#send").click()
    expect(page.locator("#speaker-state .tag").first).to_have_text("ready", timeout=180_000)
    page.locator("#name").fill("Somebody else")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("Somebody else")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Retire").click()
    expect(page.locator("main")).not_to_contain_text("For a while")
    expect(page.locator(".messages")).to_contain_text("Somebody else was retired")
