"""Migrations that the version before could not go on with are refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voicereel_site.local_stack import ROOT

pytestmark = pytest.mark.services

HARMFUL = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "{last}")]
    operations = [migrations.RemoveField("tenant", "region")]
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def lint(folder: Path, since: str) -> subprocess.CompletedProcess[str]:
    """What `make lint-migrations` runs, of the clone's code."""
    return subprocess.run(
        [sys.executable, "-m", "tests.deployment.migration_lint", since],
        cwd=folder,
        env=os.environ | {"VOICEREEL_VAR": str(folder / "var")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_last_one_does_no_harm_and_one_that_would_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(ROOT), "clone")
    clone = tmp_path / "clone"
    folder = clone / "accounts/migrations"
    last = max(folder.glob("0*.py"))
    text = last.read_text()
    # As if it were new: how much of the history is here, nobody knows.
    last.unlink()
    git(clone, "commit", "--quiet", "--all", "--message", "before")
    last.write_text(text)
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "after")
    done = lint(clone, "HEAD~1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"(accounts, {last.stem})... OK" in done.stdout

    (folder / "9999_harm.py").write_text(HARMFUL.format(last=last.stem))
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "harm")
    done = lint(clone, "HEAD~1")
    assert done.returncode != 0
    assert "DROPPING columns (table: accounts_tenant, column: region)" in done.stdout
