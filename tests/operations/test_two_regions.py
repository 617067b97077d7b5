"""Two regions on one machine: nothing of one is seen at the other, and one goes on without the other."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psycopg2
import pytest
import redis
import voicereel

from tests.operations.conftest import MakeSite, Site, ready_speaker
from tests.operations.servers import wait_until
from voicereel_site.local_stack import ROOT, free_port, kill_group

pytestmark = pytest.mark.services

REGIONS = ("kr", "us")


@pytest.fixture
def regions(make_site: MakeSite) -> dict[str, Site]:
    """Each with its own database, Redis, storage, secrets and processes, as they would be on two continents."""
    ports = {region: free_port() for region in REGIONS}
    addresses = ",".join(f"{region}=http://127.0.0.1:{port}" for region, port in ports.items())
    return {
        region: make_site(
            "production", port=port, VOICEREEL_REGION=region, VOICEREEL_REGIONS=addresses
        )
        for region, port in ports.items()
    }


@dataclass
class Heard:
    """What a Redis was asked since."""

    commands: list[str]

    def mentions(self, text: str) -> bool:
        return any(text in command for command in self.commands)


def listen(site: Site) -> Iterator[Heard]:
    assert site.redis is not None
    client = redis.Redis.from_url(site.redis.url)
    heard = Heard([])
    with client.monitor() as monitor:

        def take_down() -> None:
            try:
                for command in monitor.listen():
                    heard.commands.append(command["command"])
            except (redis.RedisError, OSError, ValueError):
                return  # closed below

        thread = threading.Thread(target=take_down, daemon=True)
        thread.start()
        yield heard
        monitor.connection.disconnect()
        thread.join(timeout=5)


def database_mentions(site: Site, text: str) -> list[str]:
    """The tables of which a row has it in any column."""
    assert site.postgres is not None
    found = []
    with psycopg2.connect(site.postgres.url) as database, database.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(
                f'SELECT count(*) FROM "{table}" AS row WHERE row::text LIKE %s', [f"%{text}%"]
            )
            [(count,)] = cursor.fetchall()
            found += [table] if count else []
    database.close()
    return found


def spoken(site: Site, name: str) -> tuple[voicereel.Job, str]:
    """A finished job of the region's own customer, and who that is."""
    client = site.client()
    speaker = ready_speaker(client)
    job = client.wait_for_job(
        client.synthesize([{"speaker_id": speaker.id, "text": f"Only {name}."}]).id, timeout_s=120
    )
    [(tenant_id,)] = site.rows("SELECT id FROM accounts_tenant")
    return job, tenant_id


def start(settings: dict[str, str], *command: str) -> str:
    """What a process says as it refuses to start."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr + done.stdout


def test_what_is_one_regions_is_never_at_the_other(regions: dict[str, Site]) -> None:
    kr, us = regions["kr"], regions["us"]
    for heard in listen(us):
        job, tenant_id = spoken(kr, "Seoul")
        # Whatever its own work makes of it, it would be there by now.
        _other_job, other_tenant_id = spoken(us, "Virginia")
        assert heard.mentions(other_tenant_id)
        for text in (tenant_id, job.id, "Seoul"):
            assert not heard.mentions(text), text
    for text in (tenant_id, job.id, "Seoul"):
        assert database_mentions(kr, text), text
        assert not database_mentions(us, text), text
    assert all(key.startswith((f"t/{tenant_id}/", "region")) for key in kr.files())
    assert all(key.startswith((f"t/{other_tenant_id}/", "region")) for key in us.files())
    assert kr.rows("SELECT region FROM accounts_tenant") == [("kr",)]

    # A key that is sent to the wrong region is told the right one, by which it works.
    assert kr.key.startswith("vr_live_kr")
    lost = voicereel.Client(kr.key, us.stack.url)
    with pytest.raises(voicereel.WrongRegion, match=kr.stack.url) as refused:
        lost.get_job(job.id)
    assert refused.value.code == "wrong_region"
    assert not database_mentions(us, tenant_id)
    # Nor do links lead there.
    assert job.audio is not None
    assert job.audio.url.startswith(kr.stack.url)
    assert httpx.get(job.audio.url).status_code == 200
    assert httpx.get(job.audio.url.replace(kr.stack.url, us.stack.url)).status_code == 403

    # One variable of another region's, and nothing starts.
    for name, part in (
        ("DATABASE_URL", "database"),
        ("REDIS_URL", "Redis"),
        ("VOICEREEL_VAR", "storage"),
        ("VOICEREEL_REGION", "database"),
    ):
        crossed = {**kr.stack.operators, name: us.stack.operators[name]}
        said = start(crossed, "manage.py", "relay")
        assert f"The {part} is the region " in said
    crossed = {**kr.settings, "REDIS_URL": us.settings["REDIS_URL"]}
    said = start(crossed, "-m", "celery", "-A", "voicereel_site", "worker", "--queues", "render")
    assert "The Redis is the region us's, and this is kr" in said
    crossed["VOICEREEL_METRICS_PORT"] = "0"
    web = ("-m", "voicereel_site.web_server", "--port", str(free_port()), "--workers", "1")
    assert "The Redis is the region us's, and this is kr" in start(crossed, *web)


def test_a_region_goes_on_when_the_other_is_lost(regions: dict[str, Site]) -> None:
    kr, us = regions["kr"], regions["us"]
    _, tenant_id = spoken(kr, "Seoul")
    for process in kr.stack.running().values():
        kill_group(process)
    assert kr.postgres is not None
    assert kr.redis is not None
    kr.postgres.close()
    kr.redis.close()

    job, _ = spoken(us, "Virginia")
    assert job.status == "succeeded"
    ready = httpx.get(f"{us.stack.url}/readyz")
    assert ready.status_code == 200
    # It knows nothing of the lost one's customers, but where they were.
    with pytest.raises(voicereel.WrongRegion, match=kr.stack.url):
        voicereel.Client(kr.key, us.stack.url).list_jobs()
    assert not database_mentions(us, tenant_id)
    wait_until(lambda: us.stack.ended() is None, "all of its processes run", 1)
