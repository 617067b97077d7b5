"""Both images: built as the Makefile says, on bases of Debian's packages, and run as docker/compose.yml says."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import voicereel
import yaml

from tests.deployment.containers import HOST, Compose, Container, Image, mounted, run
from tests.e2e.human_speech import OPENING, two_cities
from tests.operations.servers import Postgres, Redis, SeaweedFS
from voicereel_site.compose_files import make_secrets
from voicereel_site.local_stack import ROOT, free_port

pytestmark = pytest.mark.images

BUILT_WITH = {"BUILDAH_ISOLATION": "chroot", "BUILDAH_FORMAT": "docker", "BUILDAH_LAYERS": "true"}
PROCESSES = ("web", "console", "worker", "dispatcher", "relay", "operations")
# What Triton asks for, and torch.
GPU_PACKAGES = "gcc python3-dev"


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a buildah that keeps its images here alone."""
    folder = tmp_path_factory.mktemp("images")
    settings = folder / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    return {**os.environ, **BUILT_WITH, "CONTAINERS_STORAGE_CONF": str(settings)}


def make(target: str, storage: dict[str, str], folder: Path = ROOT, **variables: str) -> None:
    given = [f"{name}={value}" for name, value in variables.items()]
    run("make", target, "BUILDER=buildah", *given, cwd=folder, env=storage)


@pytest.fixture(scope="session")
def bases(storage: dict[str, str]) -> tuple[str, str]:
    """What to build on: for the web image, and for a GPU's worker."""
    names = "localhost/base:1", "localhost/gpu-base:1"
    for name, packages in zip(names, ("", GPU_PACKAGES), strict=True):
        make("base-image", storage, BASE_IMAGE=name, PACKAGES=packages)
    return names


@pytest.fixture(scope="session")
def web_image(storage: dict[str, str], bases: tuple[str, str]) -> Iterator[Image]:
    make("image-web", storage, BASE_IMAGE=bases[0], VERSION="now")
    with mounted("localhost/voicereel-web:now", storage) as image:
        yield image


@pytest.fixture(scope="session")
def worker_image(storage: dict[str, str], bases: tuple[str, str]) -> Iterator[Image]:
    make("image-worker", storage, GPU_BASE_IMAGE=bases[1], VERSION="now")
    with mounted("localhost/voicereel-worker:now", storage) as image:
        yield image


@dataclass(frozen=True)
class Version:
    """An image, and the compose file that came with it: it may know other settings."""

    image: Image
    docker: Path


@pytest.fixture(scope="session")
def before(
    storage: dict[str, str], bases: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Version]:
    """The last commit whose tables were other ones."""
    migrations = "*/migrations/0*.py"
    last = run("git", "log", "-1", "--format=%H", "--diff-filter=A", "--", migrations, cwd=ROOT)
    source = tmp_path_factory.mktemp("before")
    archive = subprocess.run(
        ["git", "archive", f"{last.strip()}~1"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
    (source / "var").mkdir()
    shutil.copytree(ROOT / "var/wheels", source / "var/wheels")
    make("image-web", storage, source, BASE_IMAGE=bases[0], VERSION="before")
    with mounted("localhost/voicereel-web:before", storage) as image:
        yield Version(image, source / "docker")


@pytest.fixture(scope="session")
def nginx_image(storage: dict[str, str]) -> Iterator[Image]:
    """Debian's nginx, for what compose.yml lets others' image be."""
    make("base-image", storage, BASE_IMAGE="localhost/nginx:1", PACKAGES="nginx-light")
    with mounted("localhost/nginx:1", storage) as image:
        yield image


Up = Callable[..., Compose]
CustomerOf = Callable[[Compose, Container], tuple[voicereel.Client, str]]


@pytest.fixture
def up(
    nginx_image: Image, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Up]:
    """The compose file with real servers: ``up({"web": image}, VOICEREEL_ENGINE="kokoro")``."""
    stack = ExitStack()

    def make_up(images: dict[str, Image], **settings: str) -> Compose:
        servers = (
            Postgres(tmp_path_factory.mktemp("postgres")),
            Redis(tmp_path_factory.mktemp("redis")),
        )
        store = SeaweedFS(tmp_path_factory.mktemp("s3"))
        for server in (*servers, store):
            server.start()
            stack.callback(server.close)
        _empty_database(servers[0])
        docker = tmp_path / "docker"
        shutil.copytree(ROOT / "docker", docker, ignore=shutil.ignore_patterns("secrets", ".env"))
        make_secrets(docker / "secrets")
        access, secret = (
            store.settings[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
        )
        (docker / "secrets/aws_credentials").write_text(
            f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
        )
        (docker / "secrets/mail_url").write_text(
            "consolemail://"
        )  # what mail would be is no matter here
        for path in docker.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        settings = {
            "VERSION": "now",
            "VOICEREEL_S3_BUCKET": store.BUCKET,
            "VOICEREEL_S3_ENDPOINT_URL": f"http://{HOST}:8333",
            **settings,
        }
        forwarded = {
            "postgres": (servers[0].port, 5432),
            "redis": (servers[1].port, 6379),
            "s3": (store.port, 8333),
        }
        config = configured(docker, settings)
        # What is there in another version too.
        for name in ("web-before", "worker-after", "worker-again"):
            config["services"][name] = config["services"][name.partition("-")[0]]
        compose = Compose(
            tmp_path,
            config,
            lambda name: nginx_image if name == "nginx" else images.get(name, images["web"]),
            forwarded,
            aliases={"web-before": "web"},
        )
        return stack.enter_context(compose)

    with stack:
        yield make_up


def _empty_database(server: Postgres) -> None:
    database = psycopg2.connect(server.url.removesuffix("voicereel") + "postgres")
    database.autocommit = True
    with database.cursor() as cursor:
        cursor.execute("DROP DATABASE voicereel")
        cursor.execute("CREATE DATABASE voicereel OWNER voicereel_migrator")
    database.close()


def configured(docker: Path, settings: dict[str, str]) -> Any:
    """What docker-compose makes of the file, with env.example filled in."""
    text = re.sub(
        r"^(\w+_IMAGE)=$", r"\1=image:1", (docker / "env.example").read_text(), flags=re.M
    )
    for name, value in settings.items():
        text = re.sub(rf"^{name}=.*\n", "", text, flags=re.M) + f"{name}={value}\n"
    (docker / ".env").write_text(text)
    return read(docker)


def read(docker: Path) -> Any:
    # What is set here, for tests, would go before what the file says.
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = own | {"COMPOSE_PROFILES": "dev,s3,gpu"}
    return yaml.safe_load(run("docker-compose", "config", cwd=docker, env=environment))


@pytest.fixture
def port() -> int:
    """Of this machine's loopback, where the service is seen."""
    return free_port()


def authority(compose: Compose) -> str:
    """The file by which a client trusts the certificate that was made."""
    return str(compose.folder / "docker/secrets/tls/ca.crt")


@pytest.fixture
def customer_of(port: int, monkeypatch: pytest.MonkeyPatch) -> CustomerOf:
    """Starts nginx, and makes a customer by what runs commands: their client and their key."""

    def make_customer(compose: Compose, console: Container) -> tuple[voicereel.Client, str]:
        compose.start("nginx")
        compose.publish(port, "nginx", 8443)
        monkeypatch.setenv("SSL_CERT_FILE", authority(compose))
        key = console.manage("create_tenant", "Alder")
        return voicereel.Client(key, f"https://localhost:{port}"), key

    return make_customer


def all_started(compose: Compose, names: tuple[str, ...] = PROCESSES) -> dict[str, Container]:
    compose.run_to_end("migrate")
    containers = {name: compose.start(name) for name in names}
    compose.until_healthy(*containers.values())
    return containers


def test_what_is_in_the_web_image(
    web_image: Image, storage: dict[str, str], tmp_path: Path
) -> None:
    assert web_image.config["User"] == "10001:10001"
    assert not list(web_image.root.glob("opt/voicereel/bin/pip*"))
    for absent in (
        "usr/bin/gcc",
        "app/tests",
        "app/.git",
        "app/var",
        "app/docker",
        "app/benchmarks",
    ):
        assert not (web_image.root / absent).exists(), absent
    assert_listed("voicereel-web", web_image)
    size = sum(path.lstat().st_size for path in web_image.root.rglob("*") if path.is_file())
    print(f"the web image: {size / 1e6:.0f} MB")
    assert size < 1.6e9


def assert_listed(name: str, image: Image) -> None:
    """What `make sbom` says is in an image is what is in it."""
    run("make", "sbom", cwd=ROOT)
    listed = json.loads((ROOT / f"var/sbom/{name}.json").read_text())["components"]
    expected = {(_normal(part["name"]), part.get("version")) for part in listed}
    [packages] = image.root.glob("opt/voicereel/lib/python3.*/site-packages")
    found = set()
    for folder in packages.glob("*.dist-info"):
        package, _, version = folder.name.removesuffix(".dist-info").partition("-")
        found.add(
            (_normal(package), version.partition("+")[0])
        )  # torch's says what it was built for
    unlisted = {package for package, _ in found} - {package for package, _ in expected}
    # torch brings what is another thing on each kind of machine: requirements-gpu.txt names none of it.
    assert {package for package in unlisted if not package.startswith(("nvidia", "cuda"))} == set()
    assert {entry for entry in found if entry[0] not in unlisted and entry not in expected} == set()


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_the_service_of_the_web_image_is_whole(
    up: Up, customer_of: CustomerOf, web_image: Image, port: int
) -> None:
    compose = up({"web": web_image}, HTTPS_PORT=str(port))
    containers = all_started(compose)
    _client, key = customer_of(compose, containers["console"])

    # TLS 1.3, and what a customer does, from outside.
    context = ssl.create_default_context(cafile=authority(compose))
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.version() == "TLSv1.3"
    said = run("make", "e2e", f"URL=https://localhost:{port}", f"KEY={key}", cwd=ROOT)
    assert re.search(r"= \d+ passed in ", said), said

    for name, container in containers.items():
        # Neither root nor able to become it, and nothing of the image can be written.
        status = container.run("cat", "/proc/self/status").stdout
        assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE), name
        assert len(re.findall(r"^Cap(?:Eff|Bnd|Prm):\t0+$", status, re.MULTILINE)) == 3, name
        assert container.run("touch", "/app/x").returncode != 0, name
        assert container.run("touch", "/tmp/x", "/var/lib/voicereel/x").returncode == 0, name
        log = container.log.read_text()
        assert "postgres://" not in log, name
        assert "SecurityWarning" not in log, name
    for name in containers:
        assert compose.stop(name) == 0, name


def test_a_job_is_spoken_by_the_worker_image(
    up: Up,
    customer_of: CustomerOf,
    web_image: Image,
    worker_image: Image,
    port: int,
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")
    from synthesis.engines.fish.random_checkpoint import write_random_checkpoint

    weights = tmp_path / "weights"
    weights.mkdir()
    write_random_checkpoint(weights)
    compose = up(
        {"web": web_image, "engine": worker_image},
        HTTPS_PORT=str(port),
        WEIGHTS=str(weights),
        VOICEREEL_ENGINE="fish",
        CPU_QUEUE="webhooks",
    )
    containers = all_started(compose)
    # There is no GPU here; with one nothing is said of the device.
    engine = compose.start("engine", FISH_DEVICE="cpu", OMP_NUM_THREADS="1")
    compose.until_healthy(engine)
    client, _key = customer_of(compose, containers["console"])
    made = client.register_speaker("Anna", two_cities(), consent=True, transcript=OPENING)
    speaker = client.wait_for_speaker(made.id, 300)
    assert speaker.voice_mode == "cloned"
    job = client.wait_for_job(
        client.synthesize([{"speaker_id": speaker.id, "text": "Four."}]).id, timeout_s=300
    )
    assert job.audio is not None
    audio = client.download_audio(job, tmp_path / "audio")
    assert audio.stat().st_size == job.audio.size_bytes
    assert_listed("voicereel-worker", worker_image)
    assert compose.stop("engine") == 0


def requests_of(container: Container) -> int:
    """How many requests for jobs a web process has answered."""
    return container.log.read_text().count('"route":"v1/jobs')


def spoken(client: voicereel.Client, speaker: voicereel.Speaker, text: str) -> str:
    job = client.synthesize([{"speaker_id": speaker.id, "text": text}])
    assert client.wait_for_job(job.id, timeout_s=180).status == "succeeded"
    return job.id


def test_two_versions_serve_side_by_side_and_the_new_one_can_be_taken_back(
    up: Up, customer_of: CustomerOf, web_image: Image, before: Version, port: int
) -> None:
    """The last change of the tables, with the processes of both versions upon it."""
    others = ("console", "worker", "dispatcher", "relay", "operations")
    settings = {"HTTPS_PORT": str(port), "VOICEREEL_ENGINE": "tone"}
    images = {"web": web_image}
    compose = up(images, **settings)
    shutil.copytree(before.docker, compose.folder / "before")
    shutil.copy(compose.folder / "docker/.env", compose.folder / "before")
    as_it_was = read(compose.folder / "before")
    now = compose.config["services"]["migrate"]
    for name, like in (
        *((name, name) for name in ("migrate", *others)),
        *(("web-before", "web"), ("worker-again", "worker")),
    ):
        images[name] = before.image
        compose.config["services"][name] = as_it_was["services"][like]
    # As it was: the old version upon its own tables.
    old = all_started(compose, ("web-before", *others))
    client, _key = customer_of(compose, old["console"])
    speaker = client.wait_for_speaker(
        client.register_speaker("Anna", two_cities(), consent=True).id, 120
    )
    jobs = [spoken(client, speaker, "As it was.")]

    # A deployment: the tables first, then each process by the side of the old one.
    images["migrate"] = web_image
    compose.config["services"]["migrate"] = now
    compose.run_to_end("migrate")
    jobs.append(spoken(client, speaker, "The old version, the new tables."))
    new = compose.start("web")
    compose.until_healthy(new)
    compose.resolve_again("nginx")
    both = (old["web-before"], new)
    answered = [requests_of(container) for container in both]
    for n in range(4):
        jobs.append(spoken(client, speaker, f"Both, {n}."))
        assert {job.id for job in client.list_jobs().data} == set(jobs)
    assert all(requests_of(one) > before for one, before in zip(both, answered, strict=True))
    images["worker-after"] = web_image
    new_worker = compose.start("worker-after")
    compose.until_healthy(new_worker)
    assert compose.stop("worker") == 0
    jobs.append(spoken(client, speaker, "Spoken by the new version."))

    # Back: only the old one again, upon the new tables.
    old_worker = compose.start("worker-again")
    compose.until_healthy(old_worker)
    assert compose.stop("worker-after") == 0
    assert compose.stop("web") == 0
    compose.resolve_again("nginx")
    jobs.append(spoken(client, speaker, "As it was before."))
    assert {job.id for job in client.list_jobs().data} == set(jobs)
    assert all(client.get_job(job_id).status == "succeeded" for job_id in jobs)
