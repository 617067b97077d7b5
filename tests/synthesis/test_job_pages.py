"""The page of all jobs: found by words of the title, state and id, and paged."""

import re
from collections.abc import Callable
from itertools import chain

import pytest

from accounts import identifiers
from synthesis import pages
from synthesis.models import Job
from tests.conftest import Api, Browser


@pytest.fixture
def editor(alder: Api, make_member: Callable[..., Browser]) -> Browser:
    return make_member(alder)


def make_jobs(api: Api, *titles: str) -> list[Job]:
    """The last of them is the newest."""
    # Those of one millisecond have no order else.
    ids = sorted(identifiers.job_id() for _ in titles)
    return [
        Job.objects.create(
            id=job_id,
            tenant=api.tenant,
            api_key_id="key_1",
            title=title,
            output={"format": "wav", "sample_rate": 8_000, "bitrate_kbps": None, "bit_depth": 16},
            captions=[],
            seed=1,
            lines_total=1,
        )
        for job_id, title in zip(ids, titles, strict=True)
    ]


def titles(page: bytes) -> list[str]:
    return re.findall(r'<a href="/jobs/job_[^"]*">([^<]*)</a>', page.decode())


def older(page: bytes) -> str:
    found = re.search(r'href="(\?[^"]*before=[^"]*)"', page.decode())
    return "" if found is None else f"/jobs{found[1].replace('&amp;', '&')}"


def test_words_are_found_in_any_case_and_script(alder: Api, editor: Browser) -> None:
    make_jobs(alder, "Kranichflüge", "The HERONS", "두루미의 겨울", "100%", "")
    for words, found in (
        ("KRANICHFLÜGE", ["Kranichflüge"]),
        ("heron", ["The HERONS"]),
        ("두루미", ["두루미의 겨울"]),
        ("%", ["100%"]),
        ("_", []),
        ("nothing", []),
    ):
        page = editor.client.get("/jobs", {"q": words}).content
        assert titles(page) == found, words
        assert not older(page)


def test_pages_follow_each_other_to_the_oldest(alder: Api, editor: Browser) -> None:
    make_jobs(alder, *(f"Heron {number:02}" for number in range(60)))
    seen, path = [], "/jobs?q=heron"
    while path:
        page = editor.client.get(path).content
        assert b"were searched" not in page
        seen.append(titles(page))
        path = older(page)
    assert [len(part) for part in seen] == [25, 25, 10]
    assert list(chain(*seen)) == [f"Heron {number:02}" for number in reversed(range(60))]


def test_a_search_that_went_as_far_as_it_does_at_once_can_go_on(
    alder: Api, editor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_JOBS_SEARCHED", 4)
    make_jobs(alder, "Heron", *["Stork"] * 6, "Heron again", "Stork")
    first = editor.client.get("/jobs?q=heron").content
    assert titles(first) == ["Heron again"]
    assert b"The titles of 4 jobs were searched." in first
    second = editor.client.get(older(first)).content
    assert titles(second) == []
    assert b"No job matches." in second
    third = editor.client.get(older(second)).content
    assert titles(third) == ["Heron"]
    assert not older(third)
