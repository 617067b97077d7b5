"""The product as its customers meet it: real web and worker processes, real HTTP."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from tests.environment import POSTGRES, REDIS, servers_missing
from tests.prepared import put_database
from voicereel_site.local_stack import LocalStack


def production(folder: Path, redis_database: int | None = None) -> Iterator[dict[str, str]]:
    """Settings of the production profile, on a database of the test's own.

    redis_database: its number, for a stack that runs beside another: their workers would take each
    other's messages.
    """
    if missing := servers_missing():
        pytest.skip(missing)
    admin = psycopg2.connect(POSTGRES)
    url = REDIS if redis_database is None else f"{REDIS.rsplit('/', 1)[0]}/{redis_database}"
    broker = redis.Redis.from_url(url)
    admin.autocommit = True
    name = f"voicereel_test_{uuid.uuid4().hex[:8]}"
    with admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    broker.flushdb()
    try:
        yield {
            "DATABASE_URL": POSTGRES.rsplit("/", 1)[0] + f"/{name}",
            "REDIS_URL": url,
            "VOICEREEL_SECRET_KEY": uuid.uuid4().hex * 2,
            "VOICEREEL_API_KEY_PEPPER": uuid.uuid4().hex * 2,
            "VOICEREEL_ENCRYPTION_KEYS": uuid.uuid4().hex * 2,
            "VOICEREEL_ENVIRONMENT": "test",
            "VOICEREEL_MAIL_URL": "consolemail://",
            "VOICEREEL_VAR": str(folder),
        }
    finally:
        with admin.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.close()
        broker.flushdb()


def _embedded(folder: Path) -> Iterator[dict[str, str]]:
    put_database(folder)
    yield {"VOICEREEL_VAR": str(folder)}


@pytest.fixture(scope="session", params=[_embedded, production], ids=["embedded", "production"])
def profile(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    yield from request.param(tmp_path_factory.mktemp("var"))


@pytest.fixture(scope="session")
def tone_stack(
    profile: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStack]:
    """Web and worker with the tone engine, on each profile."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with log.open("ab") as file:
        environment = profile | {
            "VOICEREEL_ENGINE": "tone",
            "VOICEREEL_WEBHOOK_NETWORKS": "127.0.0.0/8",  # where receivers of tests are
        }
        migrate = "DATABASE_URL" in profile
        with LocalStack(environment=environment, log=file, migrate=migrate) as stack:
            yield stack


@pytest.fixture(scope="session")
def kokoro_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Web and worker with the embedded engine."""
    folder = tmp_path_factory.mktemp("kokoro")
    with (folder / "server.log").open("ab") as file:
        environment = {"VOICEREEL_ENGINE": "kokoro", "VOICEREEL_VAR": str(folder)}
        put_database(folder)
        with LocalStack(environment=environment, log=file, migrate=False) as stack:
            yield stack
