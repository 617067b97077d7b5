"""A blind comparison by three listeners in three browsers, from making it to choosing the winner."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.person import Visit

pytestmark = pytest.mark.services


def test_three_listeners_decide_which_voice_is_the_default(
    member: Callable[..., Visit], visit: Callable[..., Visit]
) -> None:
    owner = member()
    page = owner.open("/comparisons")
    page.get_by_role("link", name="New comparison").click()
    page.fill("#title", "Which voice for the morning show?")
    page.fill(
        "#texts", "\n".join(f"This is sentence number {n} of the morning." for n in range(1, 7))
    )
    page.locator("#speaker-1").select_option(label="Anna")
    page.locator("#speaker-2").select_option(label="Ben")
    page.get_by_role("button", name="Render and compare").click()
    # It opens by itself once everything is spoken.
    expect(page.locator("#listen-url")).to_be_visible(timeout=240_000)
    link = page.locator("#listen-url").inner_text()
    secrets = re.compile(r"Anna|Ben|spk_|job_|lst_")
    for number in range(3):
        listener = visit()
        heard: list[tuple[str, int, str]] = []

        def note(reply: object, heard: list[tuple[str, int, str]] = heard) -> None:
            if re.search(r"/\d+/[12]$", reply.url):  # type: ignore[attr-defined]
                headers = reply.headers  # type: ignore[attr-defined]
                heard.append(
                    (reply.url, int(headers["content-length"]), headers["content-type"])  # type: ignore[attr-defined]
                )

        listener.page.on("response", note)
        listener.page.goto(link)
        listener.page.get_by_role("button", name="Begin").click()
        for pair in range(1, 7):
            expect(listener.page.locator("main")).to_contain_text(f"Pair {pair} of 6")
            assert not secrets.search(listener.page.locator("main").inner_html().replace(link, ""))
            lengths = {
                listener.until(f"() => document.querySelectorAll('audio')[{side}].duration || 0")
                for side in (0, 1)
            }
            assert len(lengths) == 1
            listener.page.get_by_role("button", name="1 sounds better").click()
        expect(listener.page.locator("main")).to_contain_text("Thank you")
        if not number:
            listener.picture("listened")
        sizes: dict[str, set[int]] = {url.rpartition("/")[0]: set() for url, _size, _kind in heard}
        for url, size, _kind in heard:
            sizes[url.rpartition("/")[0]].add(size)
        assert len(sizes) == 6
        assert all(len(size) == 1 for size in sizes.values())
        # The same link again: whoever has voted has nothing left to vote on.
        listener.page.goto(link)
        expect(listener.page.locator("main")).to_contain_text("Thank you")
    expect(page.locator("#comparison-state")).to_contain_text("18 votes")
    expect(page.locator("#comparison-state")).to_contain_text("3 listeners")
    # Who always says "1" prefers nobody: each voice was as often first.
    expect(page.locator("[data-verdict]")).to_contain_text("more votes are needed")
    expect(page.locator("#comparison-state tbody").first).to_contain_text("50 %")
    page.goto(page.url)
    owner.picture("comparison")
    page.locator("#speaker").select_option(label="Ben")
    page.locator("#position").select_option(label="Anna")
    page.get_by_role("button", name="Choose", exact=True).click()
    expect(page.locator(".messages")).to_contain_text("Ben speaks like that from now on.")
    page.get_by_role("button", name="Take no more votes").click()
    late = visit()
    late.page.goto(link)
    expect(late.page.locator("main")).to_contain_text("takes no more votes")
