"""Fifty threads and one Idempotency-Key, or one dictionary, over HTTP, on both profiles."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import httpx
import pytest
import voicereel

from tests.e2e.human_speech import two_cities
from tests.operations.conftest import MakeSite, Site, ready_speaker

pytestmark = pytest.mark.services

THREADS = 50
Answer = TypeVar("Answer")


@pytest.fixture(scope="module", params=["embedded", "production"])
def site(request: pytest.FixtureRequest, make_shared_site: MakeSite) -> Site:
    return make_shared_site(request.param)


def at_once(ask: Callable[[int], Answer]) -> list[Answer]:
    """The answers to fifty requests that begin together."""
    together = Barrier(THREADS)

    def one(number: int) -> Answer:
        together.wait(timeout=30)
        return ask(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


def test_one_key_makes_one_job_one_charge_and_one_speaker(site: Site) -> None:
    client = site.client()
    speaker = ready_speaker(client)
    bodies = [
        {"script": [{"speaker_id": speaker.id, "text": f"Version {version}."}]}
        for version in (0, 1)
    ]

    def synthesize(key: str, body: dict[str, Any]) -> httpx.Response:
        return post(site, "/v1/synthesize", key, json=body)

    replies = at_once(lambda _: synthesize("same", bodies[0]))
    assert {reply.status_code for reply in replies} <= {202, 409}
    made = [reply for reply in replies if reply.status_code == 202]
    assert len({reply.content for reply in made}) == 1
    assert sum("Idempotent-Replayed" not in reply.headers for reply in made) == 1
    [(job_id,)] = site.rows("SELECT id FROM synthesis_job")
    client.wait_for_job(job_id, timeout_s=60)
    usage = site.rows("SELECT meter FROM billing_usageevent ORDER BY meter")
    assert usage == [("audio_ms",), ("characters",)]
    assert synthesize("same", bodies[1]).status_code == 422
    assert synthesize("same", bodies[1]).json()["code"] == "idempotency_key_reuse"

    # Two bodies race for one key: one of them is done, the other's askers are told so.
    replies = at_once(lambda number: synthesize("raced", bodies[number % 2]))
    statuses = Counter(reply.status_code for reply in replies)
    assert statuses[422] == THREADS // 2
    assert statuses[202] + statuses[409] == THREADS // 2
    assert site.rows("SELECT count(*) FROM synthesis_job") == [(2,)]

    recording = two_cities().read_bytes()
    form = {"name": "Ben", "language": "en", "consent": "true"}

    def register(_: int) -> httpx.Response:
        return post(site, "/v1/speakers", "ben", data=form, files={"audio": recording})

    replies = at_once(register)
    assert {reply.status_code for reply in replies} <= {201, 409}
    assert len({reply.json()["id"] for reply in replies if reply.status_code == 201}) == 1
    assert site.rows("SELECT count(*) FROM speakers_speaker WHERE name = 'Ben'") == [(1,)]


def test_of_many_dictionaries_one_stays_whole(site: Site) -> None:
    client = site.client()
    dictionaries = [
        [voicereel.Pronunciation("en", f"word{n:03}", f"by {writer}") for n in range(writer, 100)]
        for writer in range(THREADS)
    ]
    replies = at_once(lambda writer: client.replace_pronunciations(dictionaries[writer]))
    assert replies == dictionaries
    assert client.pronunciations() in dictionaries


def post(site: Site, path: str, key: str, **kwargs: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {site.key}", "Idempotency-Key": key}
    return httpx.post(site.stack.url + path, headers=headers, timeout=120, **kwargs)
