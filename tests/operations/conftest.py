"""The product on servers that a test may kill: web, worker and relay with the tone engine."""

import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import voicereel

from tests.e2e.human_speech import two_cities
from tests.operations.servers import Postgres, Redis, SeaweedFS
from tests.prepared import put_database
from voicereel_site.local_stack import ROOT, LocalStack


@dataclass
class Site:
    """A running product and what it stands on."""

    stack: LocalStack
    settings: dict[str, str]
    postgres: Postgres | None = None
    redis: Redis | None = None
    s3: SeaweedFS | None = None
    _key: str = field(default="", init=False)

    @property
    def key(self) -> str:
        """An API key; the first call makes its tenant."""
        if not self._key:
            self._key = self.stack.manage("create_tenant", "Alder")
        return self._key

    def client(self, max_retries: int = 4) -> voicereel.Client:
        return voicereel.Client(self.key, self.stack.url, max_retries=max_retries)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database behind the product's back; ``?`` stands for a value."""
        if self.postgres is None:
            path = Path(self.settings["VOICEREEL_VAR"]) / "voicereel.sqlite3"
            with closing(sqlite3.connect(path, timeout=20)) as database:
                found = database.execute(query, values).fetchall()
                database.commit()
                return found
        with (
            closing(psycopg2.connect(self.postgres.url)) as database,
            database,
            database.cursor() as cursor,
        ):
            cursor.execute(query.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []

    def files(self, part: str = "") -> list[str]:
        """The storage keys that contain a text."""
        if self.s3 is not None:
            return sorted(key for key in self.s3.stored_keys() if part in key)
        root = Path(self.settings["VOICEREEL_VAR"]) / "audio"
        # os.walk passes over a folder that is erased while it looks; Path.rglob raises.
        keys = (
            str((Path(folder) / name).relative_to(root))
            for folder, _, names in os.walk(root)
            for name in names
        )
        return sorted(key for key in keys if part in key)


MakeSite = Callable[..., Site]

_logs: list[Path] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the errors that the product logged beside a failure: a client is told none of them."""
    report = yield
    if report.failed:
        for path in _logs:
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            errors = "\n".join(_readable(line) for line in lines if '"level":"error"' in line)
            if errors:
                report.sections.append((f"errors in {path}", errors[-8_000:]))
    return report


def _readable(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    lines = [line]
    for raised in entry.pop("exception", []):
        lines[0] = json.dumps(entry)
        lines += [f"  {one['filename']}:{one['lineno']} {one['name']}" for one in raised["frames"]]
        lines.append(f"  {raised['exc_type']}: {raised['exc_value']}")
    return "\n".join(lines)


@pytest.fixture
def make_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Start the product: ``make_site("embedded")``, ``make_site("production", s3=True)``."""
    yield from _sites(tmp_path_factory)


@pytest.fixture(scope="module")
def make_shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """As make_site, for all tests of a module, which run in one process: to start the product
    takes longer than most of them.
    """
    yield from _sites(tmp_path_factory)


def _sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    started: list[Any] = []

    def make(
        profile: str,
        *,
        s3: bool = False,
        metrics: bool = False,
        port: int | None = None,
        **settings: str,
    ) -> Site:
        folder = tmp_path_factory.mktemp(profile)
        environment = {
            "VOICEREEL_VAR": str(folder / "var"),
            "VOICEREEL_ENGINE": "tone",
            "PYTHONPATH": str(ROOT),  # the processes may import modules of these tests
        }
        postgres = redis = storage = None
        owner: dict[str, str] = {}
        operators: dict[str, str] = {}
        if profile == "production":
            postgres, redis = Postgres(folder / "postgres"), Redis(folder / "redis")
            environment |= {
                "DATABASE_URL": postgres.url_of("voicereel_web"),
                "REDIS_URL": redis.url,
                "VOICEREEL_SECRET_KEY": uuid.uuid4().hex * 2,
                "VOICEREEL_API_KEY_PEPPER": uuid.uuid4().hex * 2,
                "VOICEREEL_ENCRYPTION_KEYS": uuid.uuid4().hex * 2,
                "VOICEREEL_ENVIRONMENT": "test",
                "VOICEREEL_MAIL_URL": "consolemail://",
            }
            owner = {"DATABASE_URL": postgres.url_of("voicereel_migrator")}
            operators = {"DATABASE_URL": postgres.url_of("voicereel_operations")}
        else:
            put_database(Path(settings.get("VOICEREEL_VAR", folder / "var")))
        if s3:
            storage = SeaweedFS(folder / "s3")
            environment |= storage.settings
        for server in (postgres, redis, storage):
            if server is not None:
                server.start()
                started.append(server)
        environment |= settings
        log = (folder / "voicereel.log").open("ab")
        _logs.append(folder / "voicereel.log")
        stack = LocalStack(
            port,
            environment=environment,
            log=log,
            owner=owner,
            operators=operators,
            metrics=metrics,
            migrate="VOICEREEL_REGION" in settings,  # which the prepared database does not know
        )
        started.append(stack)
        stack.__enter__()
        return Site(stack, environment, postgres, redis, storage)

    first = len(_logs)
    yield make
    del _logs[first:]
    for one in reversed(started):
        one.stop() if isinstance(one, LocalStack) else one.close()


def ready_speaker(client: voicereel.Client) -> voicereel.Speaker:
    """A speaker made of a human recording."""
    made = client.register_speaker("Anna", two_cities(), consent=True)
    return client.wait_for_speaker(made.id, timeout_s=60)
