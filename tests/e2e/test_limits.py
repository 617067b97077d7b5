"""Keys and limits hold in all web processes alike: two of them, on PostgreSQL and Redis."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import voicereel

from tests.e2e.conftest import production
from voicereel_site.local_stack import ROOT, LocalStack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Two web processes alone: no job is to be spoken here."""
    folder: Path = tmp_path_factory.mktemp("limits")
    for settings in production(folder, redis_database=10):
        environment = settings | {"VOICEREEL_ENGINE": "tone", "PYTHONPATH": str(ROOT)}
        with (folder / "server.log").open("wb") as log:
            running = LocalStack(environment=environment, log=log)
            running.manage("migrate", "--verbosity", "0")
            try:
                running.start_web("tests.e2e.small_quota:application")
                yield running
            finally:
                running.stop()


def statuses(url: str, key: str, count: int, threads: int = 20) -> Counter[int]:
    """Ask so often, all at once; every request on a connection of its own, so that both processes are
    asked.
    """
    start = threading.Barrier(threads)
    headers = {"Authorization": f"Bearer {key}"}

    def ask() -> list[int]:
        start.wait()
        found = []
        for _ in range(count // threads):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
            connection.request("GET", "/v1/jobs?limit=1", headers=headers)
            reply = connection.getresponse()
            body = json.loads(reply.read())
            connection.close()
            found.append(reply.status)
            if reply.status == 429:
                assert body["code"] == "rate_limited"
                assert int(reply.headers["Retry-After"]) >= 1
        return found

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(ask) for _ in range(threads)]
        return Counter(status for future in futures for status in future.result())


def test_of_a_thousand_requests_at_once_a_quota_of_a_hundred_admits_a_hundred(
    stack: LocalStack,
) -> None:
    key = stack.manage("create_tenant", "Alder")
    assert statuses(stack.url, key, 1_000) == {200: 100, 429: 900}
    other = stack.manage("create_tenant", "Birch")
    assert statuses(stack.url, other, 20) == {200: 20}


def test_a_revoked_key_is_refused_by_every_process_at_the_next_request(stack: LocalStack) -> None:
    key = stack.manage("create_tenant", "Cedar")
    client = voicereel.Client(key, stack.url)
    made = client.create_key("short-lived")
    assert made.key is not None
    assert statuses(stack.url, made.key, 20) == {200: 20}
    client.revoke_key(made.id)
    assert statuses(stack.url, made.key, 20) == {401: 20}
    assert statuses(stack.url, key, 20) == {200: 20}
