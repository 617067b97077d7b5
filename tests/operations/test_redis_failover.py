"""The Redis that is the primary dies: sentinels promote the other, and the service goes on by itself."""

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
import redis

from tests.operations.conftest import MakeSite, ready_speaker
from tests.operations.servers import Redis, Server, wait_until
from voicereel_site.local_stack import ROOT, free_port

pytestmark = pytest.mark.services

ServerKind = TypeVar("ServerKind", bound=Server)
CONFIGURATION = ROOT / "docker/redis"


class Replica(Redis):
    """Follows another Redis; or, following none, is the primary."""

    def __init__(self, folder: Path, primary: Redis | None = None) -> None:
        super().__init__(folder)
        # Sentinels have it written anew.
        shutil.copy(CONFIGURATION / "redis.conf", folder)
        self._follows = [] if primary is None else ["--replicaof", "127.0.0.1", str(primary.port)]

    def command(self) -> Sequence[str]:
        return [
            *("redis-server", str(self.folder / "redis.conf"), "--port", str(self.port)),
            *("--bind", "127.0.0.1", "--dir", str(self.folder), "--repl-diskless-sync-delay", "0"),
            *self._follows,
        ]

    def role(self) -> str:
        try:
            return str(redis.Redis(port=self.port, socket_timeout=2).info("replication")["role"])
        except redis.RedisError:
            return "away"


class Sentinel(Server):
    """As docker/redis/sentinel.conf, on ports of this machine."""

    def __init__(self, folder: Path, primary: Redis) -> None:
        super().__init__(folder, free_port())
        text = (CONFIGURATION / "sentinel.conf").read_text()
        text = text.replace("port 26379", f"port {self.port}\nbind 127.0.0.1")
        text = text.replace("redis-1 6379", f"127.0.0.1 {primary.port}")
        (folder / "sentinel.conf").write_text(text)

    def command(self) -> Sequence[str]:
        return ["redis-server", str(self.folder / "sentinel.conf"), "--sentinel"]

    def answers(self) -> bool:
        try:
            return bool(redis.Redis(port=self.port, socket_timeout=2).ping())
        except redis.RedisError:
            return False

    def knows(self) -> tuple[int, int]:
        """How many replicas, and how many other sentinels."""
        found = redis.Redis(port=self.port, socket_timeout=2).sentinel_master("voicereel")
        assert isinstance(found, dict)
        return found["num-slaves"], found["num-other-sentinels"]


class HaProxy(Server):
    """As docker/redis/haproxy.cfg, likewise."""

    def __init__(self, folder: Path, *servers: Redis) -> None:
        super().__init__(folder, free_port())
        text = (CONFIGURATION / "haproxy.cfg").read_text()
        text = text.replace("bind :6379", f"bind 127.0.0.1:{self.port}")
        for number, server in enumerate(servers, 1):
            text = text.replace(f"redis-{number}:6379", f"127.0.0.1:{server.port}")
        (folder / "haproxy.cfg").write_text(text)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        return ["haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")]

    def answers(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.url, socket_timeout=2).ping())
        except redis.RedisError:
            return False


def test_another_redis_takes_over_and_no_job_is_lost(make_site: MakeSite, tmp_path: Path) -> None:
    running: list[Server] = []

    def started(server: ServerKind) -> ServerKind:
        """At once, so that nobody else takes its port."""
        running.append(server)
        server.start()
        return server

    try:
        primary = started(Replica(tmp_path / "redis-1"))
        replica = started(Replica(tmp_path / "redis-2", primary))
        sentinels = [started(Sentinel(tmp_path / f"sentinel-{n}", primary)) for n in range(3)]
        proxy = started(HaProxy(tmp_path / "haproxy", primary, replica))
        wait_until(
            lambda: all(one.knows() == (1, 2) for one in sentinels), "sentinels know all", 30
        )
        site = make_site("production", REDIS_URL=proxy.url)
        client = site.client()
        speaker = ready_speaker(client)

        def job() -> str:
            return client.synthesize([{"speaker_id": speaker.id, "text": "Hello."}]).id

        client.wait_for_job(job(), timeout_s=60)
        headers = {"Authorization": f"Bearer {site.key}"}
        statuses: list[int] = []

        def ask() -> None:
            for _ in range(100):
                path = f"{site.stack.url}/v1/speakers"
                statuses.append(httpx.get(path, headers=headers, timeout=30).status_code)
                time.sleep(0.1)

        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(ask)
            primary.kill()
            killed_at = time.monotonic()
            jobs = [job() for _ in range(5)]
            wait_until(lambda: replica.role() == "master", "another is promoted", 30)
            promoted_s = time.monotonic() - killed_at
            for job_id in jobs:
                client.wait_for_job(job_id, timeout_s=120)
            done_s = time.monotonic() - killed_at
            asking.result()
        # Limits per second are not counted for a moment; nobody is refused for it, and nothing fails.
        assert set(statuses) == {200}
        # The old one comes back as a replica, and nobody is led to it.
        primary.start()
        wait_until(lambda: primary.role() == "slave", "the old one follows", 60)
        client.wait_for_job(job(), timeout_s=60)
        print(f"promoted after {promoted_s:.1f} s, jobs of meanwhile done after {done_s:.1f} s")
    finally:
        for server in reversed(running):
            server.close()
