"""Settings: their table is the documentation, files give them too, and production refuses what is unsafe."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings as django_settings

from voicereel_site import settings

ROOT: Path = django_settings.BASE_DIR
_SHOW = """
import voicereel_site.settings as s
print(s.ENVIRONMENT, s.SECRET_KEY, s.DATABASES["default"]["NAME"], sep="|")
"""


def start(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Read the settings in a process of their own, as each process of ours does first."""
    ours = ("VOICEREEL_", "DATABASE_URL", "REDIS_URL", "FISH_", "KOKORO_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-c", _SHOW],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(environment: Mapping[str, str]) -> str:
    """The line with which a start is refused."""
    done = start(environment)
    assert done.returncode == 1, done.stdout
    name, _, sentence = done.stderr.strip().splitlines()[-1].partition(": ")
    assert name == "django.core.exceptions.ImproperlyConfigured"
    return sentence


@pytest.fixture
def production(tmp_path: Path) -> dict[str, str]:
    """The values of docker/environments/production.env, with secrets where they say they are."""
    return deployed("production", tmp_path)


def deployed(name: str, folder: Path) -> dict[str, str]:
    given = {
        "database_url": "postgres://voicereel_web:pass@db.internal:5432/voicereel",
        "mail_url": "smtp+tls://user:pass@mail.example.com:587",
        "stripe_key": f"sk_{'live' if name == 'production' else 'test'}_of_nobody",
        "stripe_webhook_secret": "whsec_of_nobody",
    }
    values = {"VOICEREEL_VAR": str(folder / "var")}
    for line in (ROOT / f"docker/environments/{name}.env").read_text().splitlines():
        if line.startswith("#"):
            continue
        variable, _, value = line.partition("=")
        if variable.endswith("_FILE"):
            path = folder / Path(value).name
            path.write_text(given.get(path.name, secrets.token_urlsafe(48)) + "\n")
            value = str(path)
        values[variable] = value
    return values


def test_the_table_is_what_the_code_knows() -> None:
    text = (ROOT / "templates/docs/settings.md").read_text()
    rows = re.findall(
        r"^\| `([A-Z0-9_]+)` \| (\w+) \| ((?:`[^`]*`)?|one for each processor) \| (.+) \|$",
        text,
        re.MULTILINE,
    )
    documented = {name: (kind, unset) for name, kind, unset, _ in rows}
    assert len(rows) == len(documented) == text.count("\n| `")
    assert documented == {
        name: (kind.__name__, shown(name, value))
        for name, (kind, value) in settings.env.scheme.items()
    }
    for name, _kind, _unset, meaning in rows:
        assert len(meaning.strip()) > 3, name


def shown(name: str, value: Any) -> str:
    if name == "VOICEREEL_ENGINE_THREADS":
        return "one for each processor"
    if name == "VOICEREEL_VAR":
        value = Path(value).relative_to(ROOT)
    text = ",".join(value) if isinstance(value, list) else str(value)
    return f"`{text}`" if text else ""


@pytest.mark.parametrize("name", ["staging", "production"])
def test_what_is_deployed_starts(name: str, tmp_path: Path) -> None:
    environment = deployed(name, tmp_path)
    done = start(environment)
    assert done.returncode == 0, done.stderr
    # Secrets come from files, without the end of their line.
    secret = (tmp_path / "secret_key").read_text().removesuffix("\n")
    assert done.stdout == f"{name}|{secret}|voicereel\n"


def test_processes_that_start_together_have_one_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.env, "ENVIRON", {})
    monkeypatch.setattr(settings, "VAR_DIR", tmp_path)
    together = Barrier(8)

    def read(filename: str) -> str:
        together.wait(timeout=10)
        return settings._secret("VOICEREEL_SECRET_KEY", filename)

    with ThreadPoolExecutor(8) as threads:
        for number in range(50):
            [secret] = set(threads.map(read, [f"secret_{number}"] * 8))
            assert len(secret) >= 64
    assert len(list(tmp_path.iterdir())) == 50
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


SHORT = "0123456789abcdef"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"DATABASE_URL_FILE": None}, "DATABASE_URL"),
        ({"DATABASE_URL_FILE": None, "DATABASE_URL": "sqlite:///x"}, "DATABASE_URL"),
        ({"REDIS_URL": None}, "REDIS_URL"),
        ({"VOICEREEL_S3_BUCKET": None}, "VOICEREEL_S3_BUCKET"),
        ({"VOICEREEL_S3_ENDPOINT_URL": "http://s3.example.com"}, "VOICEREEL_S3_ENDPOINT_URL"),
        (
            {"VOICEREEL_SECRET_KEY_FILE": None, "VOICEREEL_SECRET_KEY": SHORT},
            "VOICEREEL_SECRET_KEY",
        ),
        (
            {"VOICEREEL_API_KEY_PEPPER_FILE": None, "VOICEREEL_API_KEY_PEPPER": "changeme" * 8},
            "VOICEREEL_API_KEY_PEPPER",
        ),
        (
            {"VOICEREEL_ENCRYPTION_KEYS_FILE": None, "VOICEREEL_ENCRYPTION_KEYS": SHORT},
            "VOICEREEL_ENCRYPTION_KEYS",
        ),
        ({"VOICEREEL_ENCRYPTION_KEYS_FILE": "secret_key"}, "VOICEREEL_ENCRYPTION_KEYS"),
        ({"VOICEREEL_HTTPS": "false"}, "VOICEREEL_HTTPS"),
        ({"VOICEREEL_TRUSTED_PROXIES": None}, "VOICEREEL_TRUSTED_PROXIES"),
        ({"VOICEREEL_ALLOWED_HOSTS": None}, "VOICEREEL_ALLOWED_HOSTS"),
        ({"VOICEREEL_ALLOWED_HOSTS": "*"}, "VOICEREEL_ALLOWED_HOSTS"),
        (
            {"VOICEREEL_MAIL_URL_FILE": None, "VOICEREEL_MAIL_URL": "consolemail://"},
            "VOICEREEL_MAIL_URL",
        ),
        (
            {"VOICEREEL_MAIL_URL_FILE": None, "VOICEREEL_MAIL_URL": "smtp://mail.example.com"},
            "VOICEREEL_MAIL_URL",
        ),
        ({"VOICEREEL_MAIL_FROM": None}, "VOICEREEL_MAIL_FROM"),
        ({"VOICEREEL_ENGINE": "tone"}, "VOICEREEL_ENGINE"),
        (
            {"VOICEREEL_WEBHOOK_NETWORKS": "10.0.0.0/8,169.254.0.0/16"},
            "VOICEREEL_WEBHOOK_NETWORKS",
        ),
        (
            {"VOICEREEL_STRIPE_KEY_FILE": None, "VOICEREEL_STRIPE_KEY": "sk_test_x"},
            "VOICEREEL_STRIPE_KEY",
        ),
        ({"VOICEREEL_STRIPE_URL": "https://stripe.example.com"}, "VOICEREEL_STRIPE_URL"),
        ({"VOICEREEL_SELLER_NAME": None}, "VOICEREEL_SELLER_NAME"),
        ({"VOICEREEL_LOG_LEVEL": "debug"}, "VOICEREEL_LOG_LEVEL"),
    ],
)
def test_production_refuses(
    production: dict[str, str], tmp_path: Path, change: dict[str, str | None], names: str
) -> None:
    for name, value in change.items():
        production.pop(name, None)
        if value is not None:
            production[name] = str(tmp_path / value) if name.endswith("_FILE") else value
    sentence = refusal(production)
    assert re.match(rf"Unsafe in production: {names} must [^.]+\.", sentence), sentence
    # It says which, not what.
    for name, value in change.items():
        if value is not None and "SECRET" in name:
            assert value not in sentence


def test_all_that_is_unsafe_is_said_at_once(production: dict[str, str]) -> None:
    sentence = refusal(production | {"VOICEREEL_HTTPS": "false", "VOICEREEL_ENGINE": "tone"})
    assert "VOICEREEL_HTTPS" in sentence
    assert "VOICEREEL_ENGINE" in sentence


def test_staging_charges_nobody(tmp_path: Path) -> None:
    environment = deployed("staging", tmp_path)
    (tmp_path / "stripe_key").write_text("sk_live_x")
    assert "VOICEREEL_STRIPE_KEY must be a test key" in refusal(environment)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"VOICEREEL_ENVIRONMENT": "prod"}, "is one of development, test, staging, production"),
        (
            {"DATABASE_URL": "postgres://x"},
            "VOICEREEL_ENVIRONMENT must be set when DATABASE_URL is",
        ),
        ({"VOICEREEL_HTPS": "true"}, "Unknown settings: VOICEREEL_HTPS."),
        (
            {"VOICEREEL_SECRET_KEY_FILE": "/nowhere/key"},
            "VOICEREEL_SECRET_KEY_FILE names /nowhere/key, which cannot be read: No such file",
        ),
        (
            {"VOICEREEL_SECRET_KEY_FILE": "/dev/null", "VOICEREEL_SECRET_KEY": "x"},
            "VOICEREEL_SECRET_KEY and VOICEREEL_SECRET_KEY_FILE are both set",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    assert says in refusal(environment | {"VOICEREEL_VAR": str(tmp_path)})
