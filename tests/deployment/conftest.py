"""What deploys: Helm, images, and what judges them."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.kubernetes_api import KubernetesApi
from voicereel_site.local_stack import ROOT

HELM = Path(__file__).parent / "node_modules/.bin/helm"
CHART = ROOT / "docker/helm/voicereel"
PLACES = sorted(path.stem.removeprefix("values-") for path in CHART.parent.glob("values-*.yaml"))

# What each place must be told beyond its values.
TOLD = ("image.tag=abc123", f"proxy.image=nginx@sha256:{64 * '0'}", "weights.claimName=weights")

Render = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def render() -> Render:
    """Runs helm: ``render("template", "voicereel", ..., place="staging")``."""

    def run(*arguments: str, place: str = "", **options: str) -> subprocess.CompletedProcess[str]:
        values = ["--values", str(CHART.parent / f"values-{place}.yaml")] if place else []
        given = [f"{name.replace('__', '.')}={value}" for name, value in options.items()]
        return subprocess.run(
            [
                *(str(HELM), *arguments, *values),
                *(part for told in (*TOLD, *given) for part in ("--set", told)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def cluster() -> Iterator[KubernetesApi]:
    with KubernetesApi() as api:
        yield api


@pytest.fixture(scope="session")
def make() -> Callable[..., str]:
    """Runs a target of the Makefile: ``make("deploy", "PLACE=staging")``. Returns what it printed."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
