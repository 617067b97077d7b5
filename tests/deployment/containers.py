"""Containers of docker/compose.yml where no container engine can run: each with a root file system, a network
name space and an address of its own, by bubblewrap. What the file says of a process holds here too: command,
environment, secrets, read-only root, tmpfs, user, no capabilities.

It needs root, for networks, and Debian's bubblewrap, buildah, iproute2 and socat.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.operations.servers import wait_until

_NETWORK = "10.213.77"
HOST = f"{_NETWORK}.1"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNPRIVILEGED = ("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


def run(*command: str, **options: Any) -> str:
    """Its output. Raises with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Image:
    """A root file system and what its configuration says."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """With what Docker has where the image says no other."""
        return {"PATH": _PATH} | dict(entry.split("=", 1) for entry in self.config.get("Env") or [])


@contextmanager
def mounted(name: str, storage: Mapping[str, str]) -> Iterator[Image]:
    """An image of buildah's, as a container begins with it."""
    config = json.loads(run("buildah", "inspect", "--type", "image", name, env={**storage}))
    container = run("buildah", "from", "--pull-never", name, env={**storage}).strip()
    try:
        root = Path(run("buildah", "mount", container, env={**storage}).strip())
        yield Image(root, config["Docker"]["config"])
    finally:
        run("buildah", "rm", container, env={**storage})


@dataclass
class Container:
    """A service of the compose file, running."""

    namespace: str
    address: str
    bwrap: Sequence[str]
    image: Image
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Another process in it, as ``docker compose exec`` starts one."""
        return subprocess.run(
            [*self.bwrap, *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        """What a command of manage.py prints. Raises with what it said."""
        done = self.run("python", "manage.py", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def is_healthy(self) -> bool:
        """By the image's own check."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.run(*command, timeout_s=30).returncode == 0

    def main_process(self) -> psutil.Process:
        """The first one in it: bubblewrap stands before it, and hands no signal on."""
        assert self.process is not None
        [first] = psutil.Process(self.process.pid).children()
        return first

    def stop(self, grace_s: float) -> int:
        """SIGTERM. Returns the exit status."""
        assert self.process is not None
        self.main_process().terminate()
        return self.process.wait(timeout=grace_s)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            # With the first process its namespace's others end. It would not end with bubblewrap, which asks
            # the kernel for that: setpriv has changed who it is since, and that undoes it.
            self.main_process().kill()
            self.process.wait(timeout=10)


def _ends(namespace: str) -> tuple[str, str]:
    """What the ends of a container's cable are called: within it, and on the bridge."""
    return f"{namespace}a"[-15:], f"{namespace}b"[-15:]


@dataclass
class Compose:
    """The services of the file on a network of their own, with the images that are given.

    config: what ``docker-compose config`` prints. images: by service. forwarded: for a service that runs
    outside, on loopback, its port there and in the network. aliases: of a service, the name of another that
    it shares, as replicas do.
    """

    folder: Path
    config: Mapping[str, Any]
    images: Callable[[str], Image]
    forwarded: Mapping[str, tuple[int, int]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    _bridge: str = field(default_factory=lambda: f"vr{os.getpid()}")
    _started: list[Container] = field(default_factory=list)
    _running: dict[str, Container] = field(default_factory=dict)
    _forwarders: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _addresses: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> "Compose":
        run("ip", "link", "add", self._bridge, "type", "bridge")
        run("ip", "address", "add", f"{HOST}/24", "dev", self._bridge)
        run("ip", "link", "set", self._bridge, "up")
        inside = [name for name in self.config["services"] if name not in self.forwarded]
        self._addresses = {name: f"{_NETWORK}.{10 + n}" for n, name in enumerate(inside)}
        self._write_hosts()
        for outside, within in self.forwarded.values():
            self._forward(f"TCP-LISTEN:{within},bind={HOST}", f"TCP:127.0.0.1:{outside}")
        return self

    def _write_hosts(self) -> None:
        """The names that containers know: of those that run."""
        lines = ["127.0.0.1 localhost", *(f"{HOST} {name}" for name in self.forwarded)]
        for name, container in self._running.items():
            lines.append(f"{container.address} {self.aliases.get(name, name)}")
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")

    def _forward(self, source: str, target: str) -> None:
        command = ["socat", f"{source},reuseaddr,fork", target]
        self._forwarders.append(subprocess.Popen(command))

    def publish(self, port: int, name: str, port_within: int) -> None:
        """Let this machine's loopback lead to a service."""
        target = f"TCP:{self._addresses[name]}:{port_within}"
        self._forward(f"TCP-LISTEN:{port},bind=127.0.0.1", target)

    def __exit__(self, *_: object) -> None:
        for container in reversed(self._started):
            container.close()
            # Or it would stay until the kernel has seen the last process within end.
            outer_end = _ends(container.namespace)[1]
            subprocess.run(["ip", "link", "delete", outer_end], check=False)
            subprocess.run(["ip", "netns", "delete", container.namespace], check=False)
        for forwarder in self._forwarders:
            forwarder.kill()
            forwarder.wait()
        subprocess.run(["ip", "link", "delete", self._bridge], check=False)

    def start(self, name: str, **environment: str) -> Container:
        """Start a service. environment: beyond the file's."""
        container = self._create(name, environment)
        command = self.config["services"][name].get("command") or container.image.config["Cmd"]
        with container.log.open("ab") as log:
            container.process = subprocess.Popen(
                [*container.bwrap, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[name] = container
        self._write_hosts()
        return container

    def stop(self, name: str) -> int:
        """SIGTERM, as ``docker compose stop`` sends it, and as long as the file allows. Returns the exit status."""
        container = self._running.pop(name)
        self._write_hosts()
        return container.stop(self._grace_s(name))

    def _grace_s(self, name: str) -> float:
        grace = self.config["services"][name].get("stop_grace_period", "10s")  # 1m40s, say
        found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", grace)
        assert found is not None, grace
        minutes, seconds = found.groups()
        return 60.0 * int(minutes or 0) + int(seconds or 0)

    def resolve_again(self, name: str) -> None:
        """Have nginx ask for the addresses of its upstreams again."""
        self._running[name].main_process().send_signal(signal.SIGHUP)

    def run_to_end(self, name: str) -> None:
        """A service that ends by itself."""
        container = self.start(name)
        assert container.process is not None
        assert container.process.wait(timeout=180) == 0, container.log.read_text()[-3000:]

    def until_healthy(self, *containers: Container) -> None:
        for container in containers:
            wait_until(container.is_healthy, f"{container.namespace} is healthy", 180, every_s=1)

    def _create(self, name: str, environment: Mapping[str, str]) -> Container:
        service, image = self.config["services"][name], self.images(name)
        namespace = f"{self._bridge}-{len(self._started)}"
        self._join(namespace, self._addresses[name])
        folder = self.folder / namespace
        folder.mkdir()
        variables = image.environment | service.get("environment", {}) | environment
        given = [one["source"] for one in service.get("secrets", [])]
        files = self.config["secrets"]
        kept = {f"/run/secrets/{one}": str(files[one]["file"]) for one in given}
        kept["/etc/hosts"] = str(self.folder / "hosts")
        writable = {}
        for volume in image.config.get("Volumes") or {}:
            own = folder / volume.strip("/").replace("/", "-")
            own.mkdir()
            os.chown(own, 10001, 10001)
            writable[volume] = str(own)
        for mount in service.get("volumes", []):
            source, target, _mode = mount.split(":")
            kept[target] = source
        for target in (*kept, *writable):
            # Those that bubblewrap makes, only root may enter.
            (image.root / target.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        user = service.get("user") or image.config["User"]
        uid, _, gid = user.partition(":")
        bwrap = [
            *("ip", "netns", "exec", namespace, "bwrap", "--die-with-parent", "--unshare-pid"),
            # Mount points are made first; then nothing can be written.
            *("--as-pid-1", "--bind", str(image.root), "/", "--proc", "/proc", "--dev", "/dev"),
            *("--perms", "1777", "--tmpfs", "/dev/shm"),
            *(
                part
                for target in self._empty(service)
                for part in ("--perms", "1777", "--tmpfs", target)
            ),
            *(part for target, source in writable.items() for part in ("--bind", source, target)),
            *(part for target, source in kept.items() for part in ("--ro-bind", source, target)),
            *(("--remount-ro", "/") if service.get("read_only") else ()),
            *("--clearenv", *(p for k, v in variables.items() for p in ("--setenv", k, str(v)))),
            *("--chdir", image.config.get("WorkingDir") or "/"),
            *("--cap-add", "ALL"),  # which go with the next step
            *(
                "setpriv",
                f"--reuid={uid}",
                f"--regid={gid}",
                "--clear-groups",
                *_UNPRIVILEGED,
                "--",
            ),
        ]
        log = folder / "log"
        log.touch()
        os.chown(log, int(uid), int(gid))  # as a container engine gives a process its output
        container = Container(namespace, self._addresses[name], bwrap, image, log)
        self._started.append(container)
        return container

    def _empty(self, service: Mapping[str, Any]) -> list[str]:
        given = service.get("tmpfs") or []
        return [entry.split(":")[0] for entry in ([given] if isinstance(given, str) else given)]

    def _join(self, namespace: str, address: str) -> None:
        within, without = _ends(namespace)
        run("ip", "netns", "add", namespace)
        run("ip", "link", "add", without, "type", "veth", "peer", "name", within)
        run("ip", "link", "set", within, "netns", namespace)
        run("ip", "link", "set", without, "master", self._bridge, "up")
        inside = ("ip", "-n", namespace)
        run(*inside, "address", "add", f"{address}/24", "dev", within)
        run(*inside, "link", "set", within, "up")
        run(*inside, "link", "set", "lo", "up")
