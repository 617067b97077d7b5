"""Loaded before Django reads its settings: tests have a folder of their own and the tone engine.

``TEST_PROFILE=production`` runs them on PostgreSQL and Redis, if both answer; pytest-django makes a
database of its own there.
"""

import os
import tempfile
from importlib.util import find_spec

import psycopg2
import pytest
import redis

# Where a developer's own servers answer, as on the usual CI machine.
POSTGRES = os.environ.get("TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/9")
if _worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Each process of a parallel run flushes a database of its own.
    REDIS = f"{REDIS.rsplit('/', 1)[0]}/{12 + int(_worker[2:])}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what this run could not test, where nobody can overlook it."""
    if find_spec("torch") is None:
        terminalreporter.write_line(
            "LEFT OUT: the fish-speech engine's tests. torch is not installed; "
            "make .venv/bin/.installed-fish-speech adds it.",
            yellow=True,
        )


def servers_missing() -> str | None:
    """Why the production profile cannot be tested here, or None."""
    try:
        psycopg2.connect(POSTGRES, connect_timeout=3).close()
        redis.Redis.from_url(REDIS, socket_connect_timeout=3).ping()
    except (psycopg2.OperationalError, redis.RedisError) as exc:
        return f"PostgreSQL and Redis do not both answer here: {exc}"
    return None


_profile = os.environ.get("TEST_PROFILE", "embedded")  # processes of a parallel run read it too
for name in [n for n in os.environ if n.startswith("VOICEREEL_")]:
    del os.environ[name]
for name in ("DATABASE_URL", "REDIS_URL"):
    os.environ.pop(name, None)
_folder = tempfile.TemporaryDirectory(prefix="voicereel-tests-")
os.environ["VOICEREEL_VAR"] = _folder.name
os.environ["VOICEREEL_ENGINE"] = "tone"
if _profile == "production":
    if missing := servers_missing():
        pytest.exit(f"NOT TESTED on the production profile. {missing}", returncode=0)
    os.environ["DATABASE_URL"] = POSTGRES.rsplit("/", 1)[0] + "/voicereel"
    os.environ["REDIS_URL"] = REDIS
    os.environ["VOICEREEL_SECRET_KEY"] = os.environ["VOICEREEL_API_KEY_PEPPER"] = "of-these-tests"
    os.environ["VOICEREEL_ENCRYPTION_KEYS"] = "of-these-tests"
    os.environ["VOICEREEL_ENVIRONMENT"] = "test"
    os.environ["VOICEREEL_MAIL_URL"] = "consolemail://"
    os.environ["VOICEREEL_CONSOLE"] = "true"
