"""An installation of its own for a benchmark: PostgreSQL, Redis, and all our processes."""

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2
import redis

from tests.operations.servers import Postgres, Redis, wait_until
from voicereel_site.local_stack import NICE, ROOT, LocalStack


class Installation:
    """Runs while the block does; everything it keeps goes with it."""

    def __init__(self, **settings: str) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="voicereel-bench-")
        self.folder = Path(self._temporary.name)
        # fsync and synchronous commits stay on: what is acknowledged is on the disk.
        self.postgres = Postgres(self.folder / "postgres", "shared_buffers=1GB", "max_wal_size=8GB")
        self.redis = Redis(self.folder / "redis")
        self.environment = {
            "VOICEREEL_VAR": str(self.folder / "var"),
            "VOICEREEL_ENGINE": "tone",
            "REDIS_URL": self.redis.url,
            "VOICEREEL_SECRET_KEY": secrets.token_hex(32),
            "VOICEREEL_API_KEY_PEPPER": secrets.token_hex(32),
            "VOICEREEL_ENCRYPTION_KEYS": secrets.token_hex(32),
            "VOICEREEL_ENVIRONMENT": "test",
            "VOICEREEL_MAIL_URL": "consolemail://",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        self.log_path = self.folder / "voicereel.log"
        self._log = self.log_path.open("ab")
        self.stack = LocalStack(
            environment={**self.environment, "DATABASE_URL": self.postgres.url_of("voicereel_web")},
            owner={"DATABASE_URL": self.postgres.url_of("voicereel_migrator")},
            operators={"DATABASE_URL": self.postgres.url_of("voicereel_operations")},
            log=self._log,
            niceness=NICE,
        )

    @property
    def as_superuser(self) -> Mapping[str, str]:
        """The environment of a process that row-level security does not hold for."""
        return os.environ | self.environment | {"DATABASE_URL": self.postgres.url}

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run, by name."""
        running: dict[str, Any] = {"postgresql": self.postgres.process, "redis": self.redis.process}
        running |= self.stack.running()
        return {name: process.pid for name, process in running.items() if process is not None}

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database, behind the product's back."""
        with psycopg2.connect(self.postgres.url) as database, database.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def unfinished(self) -> int:
        """How many jobs are queued or processing."""
        query = "SELECT count(*) FROM synthesis_job WHERE status IN ('queued', 'processing')"
        return int(self.rows(query)[0][0])

    def forget_requests(self) -> None:
        """Take away the jobs that wait, and the buckets: the next load begins as this one did."""
        self.rows(
            "DELETE FROM synthesis_line WHERE job_id IN "
            "(SELECT id FROM synthesis_job WHERE status = 'queued')"
        )
        self.rows("DELETE FROM synthesis_job WHERE status = 'queued'")
        redis.Redis.from_url(self.redis.url).flushdb()

    def wait_until_drained(self, timeout_s: float) -> None:
        """Until no job is queued or processing. Raises ServerFailed."""
        wait_until(lambda: not self.unfinished(), "all jobs to finish", timeout_s)

    def __enter__(self) -> Self:
        self.postgres.start()
        self.redis.start()
        self.stack.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print("\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:]))
        self.stack.stop()
        self.redis.close()
        self.postgres.close()
        self._log.close()
        self._temporary.cleanup()
