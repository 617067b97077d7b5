"""docker/compose.yml is valid, whole, and names nothing that is not there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from voicereel_site.compose_files import make_secrets
from voicereel_site.local_stack import ROOT

pytestmark = pytest.mark.services

FOLDER = ROOT / "docker"
PROFILES = "dev,s3,gpu,monitoring"


def configured(tmp_path: Path, profiles: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """What docker-compose makes of the file with env.example filled in."""
    example = (FOLDER / "env.example").read_text()
    filled = re.sub(r"^(VERSION|\w+_IMAGE)=$", r"\1=image:1", example, flags=re.MULTILINE)
    settings = tmp_path / "env"
    settings.write_text(filled)
    return subprocess.run(
        [
            *("docker-compose", "--file", str(FOLDER / "compose.yml")),
            *("--env-file", str(settings), "config"),
        ],
        env={**os.environ, "COMPOSE_PROFILES": profiles, **changed},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def services(tmp_path: Path) -> dict[str, Any]:
    done = configured(tmp_path, PROFILES)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_without_profiles_it_is_the_service_and_what_that_stands_on(tmp_path: Path) -> None:
    done = configured(tmp_path, "")
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)["services"]
    # This docker-compose shows the others too.
    assert {name for name, service in found.items() if not service.get("profiles")} == {
        *("nginx", "web", "console", "worker", "dispatcher", "relay", "operations", "migrate"),
        *("postgres", "redis"),
    }


def test_with_all_of_them_it_is_everything(services: dict[str, Any]) -> None:
    assert {"engine", "s3", "bucket", "mail"} <= services.keys()
    assert {"prometheus", "alertmanager", "grafana", "loki", "alloy"} <= services.keys()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = configured(tmp_path, "", POSTGRES_IMAGE="")
    assert done.returncode
    assert "see env.example" in done.stderr


def test_every_file_that_is_mounted_is_there(services: dict[str, Any]) -> None:
    mine = [
        part.split(":")[0]
        for service in services.values()
        for part in service.get("volumes", ())
        if part.startswith(str(FOLDER))
    ]
    assert len(mine) > 10
    made_later = {str(FOLDER / "weights"), str(FOLDER / "secrets/tls")}
    assert [path for path in mine if path not in made_later and not Path(path).exists()] == []


def test_every_secret_is_made_and_given_to_those_alone_who_need_it(
    services: dict[str, Any], tmp_path: Path
) -> None:
    make_secrets(tmp_path / "secrets")
    before = {
        path: path.read_bytes() for path in (tmp_path / "secrets").rglob("*") if path.is_file()
    }
    make_secrets(tmp_path / "secrets")
    assert all(path.read_bytes() == text for path, text in before.items())
    named = yaml.safe_load((FOLDER / "compose.yml").read_text())["secrets"]
    for name, where in named.items():
        assert (tmp_path / where["file"]).exists(), name
    logins = {
        name: [one["source"] for one in service["secrets"] if "database_url" in one["source"]]
        for name, service in services.items()
        if "secrets" in service
    }
    for name in ("web", "worker", "engine"):
        assert logins[name] == ["database_url_web"]
    for name in ("console", "dispatcher", "relay", "operations"):
        assert logins[name] == ["database_url_operations"]
    assert logins["migrate"] == ["database_url_migrator"]


def test_the_command_makes_all_that_the_file_names_once(tmp_path: Path) -> None:
    """`make compose-files`, in a copy of the repository."""
    shutil.copytree(ROOT / "voicereel_site", tmp_path / "voicereel_site")
    shutil.copytree(FOLDER, tmp_path / "docker", ignore=shutil.ignore_patterns("secrets", ".env"))
    command = [sys.executable, "-m", "voicereel_site.compose_files"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "docker compose up --wait" in done.stdout
    secret = (tmp_path / "docker/secrets/secret_key").read_text()
    assert len(secret) > 40
    assert (tmp_path / "docker/.env").read_text() == (FOLDER / "env.example").read_text()
    images = re.findall(
        r"^(VERSION|\w+_IMAGE)=$", (FOLDER / "env.example").read_text(), re.MULTILINE
    )
    found = subprocess.run(
        ["docker-compose", "config", "--quiet"],
        cwd=tmp_path / "docker",
        env=os.environ | dict.fromkeys(images, "image:1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_processes_may_write_nothing_but_scratch(services: dict[str, Any]) -> None:
    for name in (
        "nginx",
        "web",
        "console",
        "worker",
        "engine",
        "dispatcher",
        "relay",
        "operations",
    ):
        assert services[name]["read_only"] is True, name
        assert services[name]["cap_drop"] == ["ALL"], name
