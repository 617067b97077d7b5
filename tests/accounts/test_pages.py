"""Lists in pages, read while their rows come and go."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from accounts.keys import issue_key
from accounts.models import ApiKey
from speakers.models import Speaker
from synthesis.models import Job
from tests.conftest import Api

Make = Callable[[Api], str]


def make_job(api: Api) -> str:
    job = Job.objects.create(
        tenant=api.tenant,
        api_key_id=api.key.pk,
        output={"format": "mp3", "sample_rate": 44_100},
        captions=[],
        seed=1,
        lines_total=1,
    )
    return str(job.pk)


def make_key(api: Api) -> str:
    return str(issue_key(api.tenant).row.pk)


@pytest.fixture
def makers(make_speaker: Callable[..., Speaker]) -> dict[str, tuple[Any, Make]]:
    return {
        "/v1/jobs": (Job, make_job),
        "/v1/jobs?status=queued": (Job, make_job),
        "/v1/keys": (ApiKey, make_key),
        "/v1/speakers": (Speaker, lambda api: str(make_speaker(api).pk)),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs?status=queued", "/v1/keys", "/v1/speakers"])
def test_pages_are_complete_and_repeat_nothing_while_rows_come_and_go(
    alder: Api, birch: Api, makers: dict[str, tuple[Any, Make]], path: str, seed: int
) -> None:
    chance = random.Random(seed)
    model, make = makers[path]
    own = {alder.key.pk}  # the key that asks is in the list of keys, and has to stay
    first = {make(alder) for _ in range(40)}
    for _ in range(5):
        make(birch)
    deleted: set[str] = set()
    added: set[str] = set()
    seen: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        query = f"{'&' if '?' in path else '?'}limit={chance.randint(1, 7)}"
        page = alder.get(path + query + (f"&cursor={cursor}" if cursor else "")).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        pages += 1
        assert pages < 100
        if pages < 30:  # an end to what is added
            added |= {make(alder) for _ in range(chance.randint(0, 3))}
        # Of what was listed already, the last of it too, which the cursor names, and of what was not.
        gone = chance.sample(sorted((first | added) - deleted), 2)
        if seen and seen[-1] not in deleted | own and chance.random() < 0.5:
            gone.append(seen[-1])
        model.objects.filter(pk__in=gone).delete()
        deleted |= set(gone)
    assert pages > 5
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=True)
    assert first - deleted <= set(seen)
    assert set(seen) <= first | added | own


def test_the_last_page_says_that_it_is_the_last(alder: Api) -> None:
    for _ in range(4):
        make_job(alder)
    page = alder.get("/v1/jobs?limit=2").json()
    assert page["next_cursor"]
    last = alder.get(f"/v1/jobs?limit=2&cursor={page['next_cursor']}").json()
    assert (len(last["data"]), last["next_cursor"]) == (2, None)
