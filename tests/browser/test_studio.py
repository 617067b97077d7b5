"""The studio: a script that was brought along becomes audio whose captions light up in time."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.person import Visit

pytestmark = pytest.mark.services

# How far a lit word may be from the sound, in milliseconds.
_IN_TIME_MS = 100

SRT = """\
1
00:00:01,000 --> 00:00:03,500
Anna: Is this thing on? I have been
talking for a minute.

2
00:00:03,900 --> 00:00:06,000
Carla: It is. We have been on the air
since the doors opened

3
00:00:06,100 --> 00:00:08,000
and nobody told you.

4
00:00:09,500 --> 00:00:11,000
Anna: Then let us begin.
"""

# Notes each word as it lights up, with where the audio is at that moment.
_WATCH = """async () => {
  window.lit = [];
  const audio = document.querySelector('[data-player] audio');
  const sought = (to) => new Promise((done) => {
    audio.addEventListener('seeked', () => setTimeout(done, 50), {once: true});
    audio.currentTime = to;
  });
  audio.pause();
  await sought(audio.duration - 0.01); // where no word is said
  new MutationObserver((changes) => {
    for (const change of changes) {
      const word = change.target;
      if (word.classList?.contains('lit')) {
        window.lit.push([word.textContent, Number(word.dataset.start), audio.currentTime * 1000]);
      }
    }
  }).observe(document.querySelector('[data-transcript]'), {subtree: true, attributeFilter: ['class']});
  await sought(0);
  await audio.play();
  return true;
}"""


def rendered(page: Page) -> None:
    before = page.locator("#listen [data-job]")
    earlier = before.get_attribute("data-job") if before.count() else ""
    page.locator("#render").click()
    # What was rendered before stays until the new one is taken.
    page.wait_for_selector(f"#listen [data-job]:not([data-job='{earlier}'])", state="attached")
    expect(page.locator("#listen [data-job]")).to_have_attribute(
        "data-status", "succeeded", timeout=180_000
    )
    page.wait_for_selector("[data-player][data-ready=yes]")


@pytest.fixture
def imported(member: Callable[..., Visit]) -> Visit:
    guest = member()
    page = guest.open("/studio")
    page.set_input_files(
        "#file", {"name": "morning.srt", "mimeType": "text/plain", "buffer": SRT.encode()}
    )
    page.get_by_role("button", name="Import").click()
    page.wait_for_selector("#studio")
    return guest


def test_captions_light_up_with_the_sound(imported: Visit) -> None:
    page = imported.page
    texts = page.locator("#lines textarea")
    expect(texts).to_have_count(3)
    assert texts.nth(0).input_value() == "Is this thing on? I have been talking for a minute."
    assert texts.nth(1).input_value() == (
        "It is. We have been on the air since the doors opened and nobody told you."
    )
    # Carla is nobody here yet: she gets a voice once, for all her lines.
    expect(page.locator("#voices")).to_be_visible()
    imported.picture("studio-who-is-who")
    page.locator("#voices select").select_option(label="Ben")
    expect(page.locator("#voices")).to_be_hidden()
    expect(page.locator("#render")).to_be_enabled()
    rendered(page)
    assert page.evaluate(_WATCH)
    imported.until("() => document.querySelector('[data-player] audio').ended", timeout_s=60)
    lit = page.evaluate("() => window.lit")
    spoken = " ".join(word for word, _start, _at in lit)
    assert len(lit) >= 20
    assert spoken.startswith("Is this thing on? I have been")
    off = [at - start for _word, start, at in lit]
    assert max(map(abs, off)) <= _IN_TIME_MS, sorted(off)[-5:]
    cue = page.evaluate("() => document.querySelector('[data-transcript]').textContent")
    assert "Then let us begin." in cue


def test_a_line_is_heard_changed_and_rendered_again(imported: Visit) -> None:
    page = imported.page
    page.locator("#voices select").select_option(label="Ben")
    expect(page.locator("#render")).to_be_enabled()
    rendered(page)
    first = page.locator("#listen [data-job]").get_attribute("data-job")
    page.evaluate("() => document.querySelector('[data-player] audio').pause()")
    # A line as it was rendered plays from there.
    page.locator(".line [data-do=hear]").nth(2).click()
    at = imported.until("() => document.querySelector('[data-player] audio').currentTime")
    assert isinstance(at, float)
    assert at > 4
    # Changed, it is spoken by itself; the rest says that it is not what was rendered.
    page.locator("#lines textarea").nth(2).fill("Then let us begin at last.")
    expect(page.locator("#changed")).to_have_text("1 line is not as it was rendered.")
    page.locator(".line [data-do=hear]").nth(2).click()
    expect(page.locator("#single audio[autoplay]")).to_be_visible(timeout=180_000)
    rendered(page)
    second = page.locator("#listen [data-job]").get_attribute("data-job")
    assert second != first
    expect(page.locator("[data-transcript]")).to_contain_text("Then let us begin at last.")
    expect(page.locator("#changed")).to_be_hidden()


def test_everything_is_saved_as_it_is_written_and_by_keyboard_alone(
    member: Callable[..., Visit],
) -> None:
    guest = member()
    page = guest.open("/studio")
    page.get_by_role("button", name="New script").click()
    page.wait_for_selector("#studio")
    draft = page.url
    page.locator("#title").fill("By hand")
    page.locator("#lines textarea").first.focus()
    page.keyboard.press("Alt+1")
    page.keyboard.type("Good morning.")
    page.keyboard.press("Enter")
    page.keyboard.type("Good evening.")
    page.keyboard.press("Alt+2")
    page.keyboard.press("Enter")
    page.keyboard.type("And good night.")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.goto(draft)
    texts = [one.input_value() for one in page.locator("#lines textarea").all()]
    assert [text for text in texts if text] == ["Good morning.", "And good night.", "Good evening."]
    voices = [
        one.locator("option:checked").inner_text() for one in page.locator(".line select").all()
    ]
    assert voices[:3] == ["Anna", "Anna", "Ben"]
    assert page.locator("#title").input_value() == "By hand"
    assert re.fullmatch(r"\d:\d\d", page.locator("#expected").inner_text())


def test_two_windows_do_not_write_over_each_other(member: Callable[..., Visit]) -> None:
    guest = member()
    page = guest.open("/studio")
    page.get_by_role("button", name="New script").click()
    page.wait_for_selector("#studio")
    other = guest.context.new_page()
    other.goto(page.url)
    page.locator("#lines textarea").first.fill("The first window.")
    expect(page.locator("#saved")).to_have_text("Saved")
    other.locator("#lines textarea").first.fill("The second window.")
    expect(other.locator("#conflict")).to_contain_text("changed elsewhere")
    other.close(run_before_unload=False)
    page.goto(page.url)
    assert page.locator("#lines textarea").first.input_value() == "The first window."
    # The browser says itself that a request was refused.
    guest.trouble[:] = [one for one in guest.trouble if "409" not in one]


def test_pasted_rows_become_lines(member: Callable[..., Visit]) -> None:
    page = member().open("/studio")
    page.get_by_role("button", name="New script").click()
    area = page.locator("#lines textarea").first
    area.focus()
    area.evaluate(
        """(area) => {
          const carried = new DataTransfer();
          carried.setData('text', 'Anna: One.\\nBen: Two.\\n\\nAnna: Three.');
          area.dispatchEvent(new ClipboardEvent('paste', {clipboardData: carried, bubbles: true, cancelable: true}));
        }"""
    )
    expect(page.locator("#lines textarea").nth(2)).to_have_value("Three.")
    voices = [
        one.locator("option:checked").inner_text() for one in page.locator(".line select").all()
    ]
    assert voices[:3] == ["Anna", "Ben", "Anna"]
