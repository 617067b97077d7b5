"""Servers of a test's own, on free ports of this machine, which it may stop and kill."""

import atexit
import contextlib
import glob
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import boto3
import botocore.config
import botocore.exceptions
import psycopg2
import redis

from voicereel_site.local_stack import ROOT, free_port

_READY_S = 60.0


class ServerFailed(Exception):
    """A server did not start; its log says why."""


class Server:
    """A process that answers on a port. ``folder`` keeps its data and its log."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self, *, user: str | None = None, environment: dict[str, str] | None = None) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd="/" if user else self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                env=os.environ | (environment or {}),
                start_new_session=True,
            )
        wait_until(self.answers, f"{type(self).__name__} on port {self.port}", _READY_S)

    def kill(self) -> None:
        """As a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=10)
            self.process = None

    def close(self) -> None:
        """End it for good."""
        self.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def wait_until(
    holds: Callable[[], bool], what: str, timeout_s: float, every_s: float = 0.1
) -> None:
    """Raises ServerFailed if it does not come to hold in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(every_s)


class Postgres(Server):
    """A cluster of its own, trusting everybody on loopback, with our roles and an up-to-date database.

    settings: ``shared_buffers=1GB``, say. data: a cluster that is there already; by default a copy of
    one that each process of tests makes once, for that takes ten times as long as copying it.
    """

    def __init__(self, folder: Path, *settings: str, data: Path | None = None) -> None:
        super().__init__(folder, free_port())
        self._settings = settings
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self._bin = Path(found[-1] if found else Path(shutil.which("postgres") or "").parent)
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self.data = data or self.new_folder()
        if data is None:
            subprocess.run(["cp", "-a", f"{_prepared_cluster()}/.", self.data], check=True)

    @staticmethod
    def new_folder() -> Path:
        """An empty one for a cluster."""
        # Its account may not enter the folders that pytest keeps to itself.
        folder = Path(tempfile.mkdtemp(prefix="voicereel-postgres-"))
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        return folder

    @classmethod
    def make_cluster(cls, folder: Path) -> Path:
        """A cluster at rest, with all that LocalStack would migrate."""
        made = cls(folder, data=folder)
        made.data = made.new_folder()
        subprocess.run(
            [made._bin / "initdb", "-D", made.data, "-U", "postgres", "-A", "trust", "-E", "UTF8"],
            cwd="/",
            user=made._user,
            capture_output=True,
            check=True,
        )
        made.start()
        made._prepare()
        assert made.process is not None
        made.process.send_signal(signal.SIGINT)  # its own way to end at once and in order
        made.process.wait(timeout=30)
        return made.data

    def url_of(self, user: str) -> str:
        return f"postgres://{user}@127.0.0.1:{self.port}/voicereel"

    @property
    def url(self) -> str:
        """As the superuser."""
        return self.url_of("postgres")

    def _prepare(self) -> None:
        """The roles and the database, as a container of PostgreSQL makes them, and its tables."""
        passwords = self.folder / "passwords"
        passwords.mkdir()
        for name in ("owner", "app", "operator"):
            (passwords / f"{name}_password").write_text("x")
        subprocess.run(
            ["sh", str(ROOT / "docker/postgres/create.sh")],
            env={
                **os.environ,
                "PATH": f"{self._bin}:{os.environ['PATH']}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.port),
                "SECRETS": str(passwords),
                "ROLES": str(ROOT / "docker/postgres/roles.sql"),
            },
            check=True,
        )
        kept_secret = ("SECRET_KEY", "API_KEY_PEPPER", "ENCRYPTION_KEYS")
        settings = {f"VOICEREEL_{name}": secrets.token_hex(32) for name in kept_secret} | {
            "DATABASE_URL": self.url_of("voicereel_migrator"),
            "VOICEREEL_ENVIRONMENT": "test",
            "VOICEREEL_MAIL_URL": "consolemail://",
            "VOICEREEL_VAR": str(self.folder / "var"),
        }
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env=os.environ | settings,
            check=True,
        )

    def command(self) -> Sequence[str]:
        return [
            str(self._bin / "postgres"),
            *("-D", str(self.data), "-p", str(self.port), "-k", str(self.data)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60"),
            *(part for setting in self._settings for part in ("-c", setting)),
        ]

    def start(self, *, user: str | None = None, environment: dict[str, str] | None = None) -> None:
        super().start(user=self._user)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.data, ignore_errors=True)

    def answers(self) -> bool:
        try:
            psycopg2.connect(
                host="127.0.0.1", port=self.port, user="postgres", connect_timeout=2
            ).close()
        except psycopg2.OperationalError:
            return False
        return True


@cache
def _prepared_cluster() -> Path:
    with tempfile.TemporaryDirectory(prefix="voicereel-cluster-") as folder:
        data = Postgres.make_cluster(Path(folder))
    atexit.register(shutil.rmtree, data)
    return data


class Redis(Server):
    """Keeps nothing on disk: killed, it has lost its data."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free_port())

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
        ]

    def answers(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.url, socket_connect_timeout=1).ping())
        except redis.RedisError:
            return False


class SeaweedFS(Server):
    """A real S3 server, which checks signatures and expiry (moto and s3rver do not)."""

    BUCKET = "voicereel-audio"
    _ACCESS_KEY = "voicereel"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _port_with_a_twin())
        self._secret = secrets.token_hex(16)
        # One port each for S3, master, volume and filer; their gRPC ports lie 10,000 above.
        self._ports = [self.port, *(_port_with_a_twin() for _ in range(3))]
        self._keys = {
            # Without the first, encryption at the server is a 500; without the second, 16 bytes or
            # more, its own tools are not let in.
            "WEED_S3_SSE_KEK": secrets.token_hex(32),
            "WEED_JWT_FILER_SIGNING_KEY": secrets.token_hex(32),
        }
        identity = {
            "name": "voicereel",
            "credentials": [{"accessKey": self._ACCESS_KEY, "secretKey": self._secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir(exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment that makes VoiceReel keep its files here."""
        return {
            "VOICEREEL_S3_BUCKET": self.BUCKET,
            "VOICEREEL_S3_ENDPOINT_URL": self.url,
            "VOICEREEL_S3_REGION": "us-east-1",
            "VOICEREEL_S3_ADDRESSING_STYLE": "path",
            "AWS_ACCESS_KEY_ID": self._ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": self._secret,
        }

    def client(self) -> "boto3.client":
        """An S3 client that does not wait for long."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self._ACCESS_KEY,
            aws_secret_access_key=self._secret,
            config=botocore.config.Config(
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=5,
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
            ),
        )

    def stored_keys(self, prefix: str = "") -> list[str]:
        """The keys of all objects below a prefix."""
        pages = self.client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.BUCKET, Prefix=prefix)
        return [entry["Key"] for page in found for entry in page.get("Contents", ())]

    def command(self) -> Sequence[str]:
        s3, master, volume, filer = self._ports
        return [
            str(Path(sys.executable).with_name("weed")),
            *("server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-s3", f"-s3.port={s3}", "-s3.config=s3.json", "-filer"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
            *("-volume.max=20", "-volume.preStopSeconds=0", "-master.volumeSizeLimitMB=1024"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            # A master that was killed is elected again after a minute; one that forgets, at once.
            *("-master.resumeState=false", "-master.electionTimeout=1s"),
            *("-master.telemetry=false", "-metricsPort=0"),
        ]

    def start(self, *, user: str | None = None, environment: dict[str, str] | None = None) -> None:
        super().start(environment=self._keys)

    def answers(self) -> bool:
        """The port opens seconds before the first PUT succeeds."""
        client = self.client()
        try:
            with contextlib.suppress(
                client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou
            ):
                client.create_bucket(Bucket=self.BUCKET)
            client.put_object(Bucket=self.BUCKET, Key="ready", Body=b"yes")
            client.delete_object(Bucket=self.BUCKET, Key="ready")
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return True


def _port_with_a_twin() -> int:
    """A free port below the ephemeral ones, whose neighbour 10,000 above is free as well."""
    while True:
        port = 12_000 + secrets.randbelow(10_000)
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port
