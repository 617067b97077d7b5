"""The chart renders, what it renders is what Kubernetes and its operators take, and what it runs is ours."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from kubernetes_validate import validate

from tests.deployment.conftest import CHART, PLACES, Render
from tests.operations.servers import Postgres

pytestmark = pytest.mark.services

_KUBERNETES = "1.35"
_OF_OPERATORS = ("keda.sh/v1alpha1", "external-secrets.io/v1")

Manifests = list[dict[str, Any]]


@pytest.fixture(params=["", *PLACES])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def manifests(place: str, render: Render) -> Manifests:
    return rendered(render, place)


def rendered(render: Render, place: str, **options: str) -> Manifests:
    done = render("template", "voicereel", str(CHART), place=place, **options)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def of_kind(manifests: Manifests, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: Manifests) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the specification of each kind of pod."""
    for one in manifests:
        if one["kind"] in ("Deployment", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def test_there_are_three_places() -> None:
    assert len(PLACES) == 3


def test_every_manifest_is_valid(manifests: Manifests) -> None:
    theirs = [one for one in manifests if one["apiVersion"] in _OF_OPERATORS]
    for one in manifests:
        if one not in theirs:
            validate(one, _KUBERNETES, strict=True)
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("validate_resources.mjs"))],
        input=json.dumps(theirs),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_wrong_in_a_manifest_is_seen(render: Render) -> None:
    deployment = of_kind(rendered(render, ""), "Deployment")["web"]
    for wrong in ({"revisionHistoryLimit": "five"}, {"replicaz": 2}):
        with pytest.raises(Exception, match=next(iter(wrong))):
            validate(
                {**deployment, "spec": {**deployment["spec"], **wrong}}, _KUBERNETES, strict=True
            )


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("web__minReplicas", "many", "got string, want integer"),
        ("web__minReplica", "2", "additional properties 'minReplica' not allowed"),
        ("proxy__consoleFrom[0]", "everywhere", "does not match pattern"),
        ("workers__engine__image", "cpu", "must be one of"),
        ("settings__VOICEREEL_HTTPS", "true", "got boolean, want string"),
    ],
)
def test_a_wrong_value_is_refused(render: Render, option: str, value: str, said: str) -> None:
    done = render("template", "voicereel", str(CHART), **{option: value})
    assert done.returncode
    assert said in done.stderr, done.stderr


def test_it_says_what_it_must_be_told(render: Render) -> None:
    done = render("template", "voicereel", str(CHART), image__tag="")
    assert "image.tag: which VERSION?" in done.stderr
    done = render(
        "template", "voicereel", str(CHART), place="production", secrets__external__key=""
    )
    assert "secrets.external.key" in done.stderr


def test_lint_finds_nothing(render: Render, place: str) -> None:
    done = render("lint", str(CHART), "--strict", place=place)
    assert done.returncode == 0, done.stdout


def test_no_pod_may_more_than_it_needs(manifests: Manifests) -> None:
    for name, pod in pods(manifests):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name


def test_each_process_has_the_login_that_is_its_own(manifests: Manifests) -> None:
    logins = {
        name: variable["value"].rpartition("_")[2]
        for name, pod in pods(manifests)
        for variable in pod["containers"][0].get("env", ())
        if variable["name"] == "DATABASE_URL_FILE"
    }
    expected = {
        "web": "web",
        "worker": "web",
        "engine": "web",
        "console": "operations",
        "dispatcher": "operations",
        "relay": "operations",
        "operations": "operations",
        "migrate": "migrator",
    }
    assert logins == {name: expected[name] for name in logins}
    assert {"web", "worker", "migrate"} <= logins.keys()


def test_selectors_find_pods(manifests: Manifests) -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in manifests
        if one["kind"] == "Deployment"
    ]
    for one in manifests:
        if one["kind"] in ("Service", "PodDisruptionBudget"):
            selector = one["spec"]["selector"]
            wanted = selector.get("matchLabels", selector).items()
            found = [each for each in labels if wanted <= each.items()]
            assert len(found) == 1, (one["kind"], one["metadata"]["name"])


def test_what_scales_is_there_and_has_no_number_of_its_own(manifests: Manifests) -> None:
    deployments = of_kind(manifests, "Deployment")
    scaled = [
        *of_kind(manifests, "HorizontalPodAutoscaler").values(),
        *of_kind(manifests, "ScaledObject").values(),
    ]
    names = {one["spec"]["scaleTargetRef"]["name"] for one in scaled}
    assert "web" in names
    for name, deployment in deployments.items():
        assert ("replicas" in deployment["spec"]) == (name not in names), name


def test_the_clock_is_never_there_twice(manifests: Manifests) -> None:
    clocks = [
        one
        for one in manifests
        if one["kind"] == "Deployment"
        and "-B" in one["spec"]["template"]["spec"]["containers"][0].get("args", ())
    ]
    assert [one["metadata"]["name"] for one in clocks] == ["operations"]
    assert clocks[0]["spec"]["replicas"] == 1
    assert clocks[0]["spec"]["strategy"] == {"type": "Recreate"}


def test_every_queue_has_a_worker(manifests: Manifests) -> None:
    engine = of_kind(manifests, "ConfigMap")["voicereel"]["data"]["VOICEREEL_ENGINE"]
    taken = set()
    for _, pod in pods(manifests):
        arguments = pod["containers"][0].get("args", [])
        if "--queues" in arguments:
            taken |= set(arguments[arguments.index("--queues") + 1].split(","))
    of_engine = {"fish": {"gpu", "voices"}, "kokoro": {"render"}}[engine]
    assert taken == {"default", "test-jobs", "webhooks", "operations"} | of_engine


def test_migrations_bring_along_what_they_need(manifests: Manifests) -> None:
    """They run before anything else of the chart is there."""
    hooks = [one for one in manifests if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    migrate = of_kind(hooks, "Job")["migrate"]["spec"]["template"]["spec"]
    assert "serviceAccountName" not in migrate
    maps = [source["configMapRef"]["name"] for source in migrate["containers"][0]["envFrom"]]
    assert set(maps) <= of_kind(hooks, "ConfigMap").keys()


def test_workers_outlive_what_they_speak(manifests: Manifests) -> None:
    for name, pod in pods(manifests):
        if name == "engine":
            assert pod["terminationGracePeriodSeconds"] >= 120
            assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres


def test_what_keda_asks_is_how_long_jobs_wait(database: Postgres, render: Render) -> None:
    scaled = of_kind(rendered(render, "production"), "ScaledObject")
    assert scaled.keys() == {"worker", "engine"}
    url = database.url_of("voicereel_operations")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for one in scaled.values():
            cursor.execute(one["spec"]["triggers"][0]["metadata"]["query"])
            assert [float(value) for value in cursor.fetchone()] == [0.0]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_deployed_and_taken_back(
    cluster: Any, make: Callable[..., str], place: str
) -> None:
    given = ("VERSION=abc123", "NGINX_IMAGE=nginx@sha256:" + 64 * "0", f"PLACE={place}")
    said = make("deploy", *given, f"HELM_FLAGS=--dry-run=client --kube-apiserver={cluster.url}")
    assert "Dry run complete" in said
    assert "voicereel-web:abc123" in said
    cluster.remember("voicereel", "the first", "the second")
    said = make("rollback", f"HELM_FLAGS=--dry-run=client --kube-apiserver={cluster.url}")
    assert "Rollback was a success" in said
