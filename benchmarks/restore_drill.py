"""The restore drill: a service with its archive and its bucket is destroyed, and what was there at a chosen second
is back, bit for bit. Says how long that took (RTO) and how much was lost with the machine (RPO).

    make restore-drill
"""

import contextlib
import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import voicereel

from tests.e2e.human_speech import two_cities
from tests.operations.servers import Postgres, Redis, SeaweedFS, wait_until
from voicereel_site.local_stack import ROOT, LocalStack

# Shorter than production's minute (docker/postgres/archiving.conf), so that the drill is short.
ARCHIVE_TIMEOUT_S = 5
_JOBS = 6


@dataclass(frozen=True)
class Drill:
    """What came of it. rto_s: from nothing to a service that answers with an old job's audio, of which
    database_s and files_s; lost_s: of the last writes before the machine was lost; tables: rows by table.
    """

    backup_s: float
    database_s: float
    files_s: float
    rto_s: float
    lost_s: float
    tables: Mapping[str, int]
    files: int
    brought_back: int


class Archive:
    """pgBackRest with an encrypted repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="voicereel-archive-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        self.config = self._folder / "pgbackrest.conf"
        self._pass = secrets.token_hex(32)
        for name in ("repo", "log", "lock", "spool"):
            (self._folder / name).mkdir()
        if self._user:
            account = pwd.getpwnam(self._user)
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)

    @property
    def command(self) -> str:
        return f"pgbackrest --config={self.config} --stanza=voicereel"

    def point_at(self, data: Path, port: int) -> None:
        """Say where the cluster is."""
        # As docker/postgres/pgbackrest.conf, but for where the repository is.
        given = (ROOT / "docker/postgres/pgbackrest.conf").read_text()
        kept = [
            line
            for line in given.splitlines()
            if line
            and not line.startswith(("#", "repo1-type", "repo1-s3", "repo1-path", "pg1-path"))
        ]
        at = kept.index("[voicereel]")
        kept[at:at] = [
            f"repo1-path={self._folder}/repo",
            f"repo1-cipher-pass={self._pass}",
            f"log-path={self._folder}/log",
            f"lock-path={self._folder}/lock",
            f"spool-path={self._folder}/spool",
            "log-level-console=warn",
        ]
        kept += [
            f"pg1-path={data}",
            f"pg1-port={port}",
            f"pg1-socket-path={data}",
            "pg1-user=postgres",
        ]
        self.config.write_text("\n".join(kept) + "\n")
        self.config.chmod(0o644)

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            [*self.command.split(), *arguments],
            cwd="/",
            user=self._user,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pgbackrest {arguments}: {done.stdout}{done.stderr}")

    def settings(self) -> list[str]:
        """PostgreSQL's, of docker/postgres/archiving.conf, with this archive's command and timeout."""
        found = []
        for line in (ROOT / "docker/postgres/archiving.conf").read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.partition(" = ")
                value = value.strip("'").replace("pgbackrest --stanza=voicereel", self.command)
                found.append(f"{name}={ARCHIVE_TIMEOUT_S if name == 'archive_timeout' else value}")
        return found

    def close(self) -> None:
        shutil.rmtree(self._folder)


def run_drill(folder: Path) -> Drill:
    """Everything, on servers of its own. Raises AssertionError if something is not back as it was."""
    archive = Archive(folder)
    with contextlib.ExitStack() as cleaning:
        cleaning.callback(archive.close)
        redis = cleaning.enter_context(Redis(folder / "redis"))
        files = cleaning.enter_context(SeaweedFS(folder / "s3"))
        files.client().put_bucket_versioning(
            Bucket=files.BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )
        postgres = Postgres(folder / "postgres", *archive.settings())
        archive.point_at(postgres.data, postgres.port)
        environment = files.settings | {
            "VOICEREEL_ENVIRONMENT": "test",
            "VOICEREEL_VAR": str(folder / "var"),
            "VOICEREEL_ENGINE": "tone",
            "VOICEREEL_MAIL_URL": "consolemail://",
            "REDIS_URL": redis.url,
            **{
                f"VOICEREEL_{name}": secrets.token_hex(32)
                for name in ("SECRET_KEY", "API_KEY_PEPPER", "ENCRYPTION_KEYS")
            },
        }
        postgres.start()
        closed = contextlib.ExitStack()
        closed.callback(postgres.close)
        cleaning.push(closed.pop_all())
        with stack_on(postgres, environment, folder) as stack:
            archive.run("stanza-create")
            key = stack.manage("create_tenant", "Alder", "--plan", "enterprise")
            client = voicereel.Client(key, stack.url)
            speaker = client.register_speaker("Anna", two_cities(), consent=True)
            client.wait_for_speaker(speaker.id, timeout_s=60)
            jobs = [speak(client, speaker.id, n) for n in range(_JOBS // 2)]
            started = time.monotonic()
            archive.run("--type=full", "backup")
            backup_s = time.monotonic() - started
            # What is newer than the backup is in the archived log alone.
            jobs += [speak(client, speaker.id, n) for n in range(_JOBS // 2, _JOBS)]
        # Nobody writes: what is there now is there at the chosen second.
        time.sleep(1.1)
        tables, stored = rows_of(postgres), files_of(files)
        chosen = datetime.now(UTC)
        time.sleep(2.1)
        with stack_on(postgres, environment, folder) as stack:
            client = voicereel.Client(key, stack.url)
            client.delete_job(jobs[0])
            client.delete_job(jobs[-1])
            speak(client, speaker.id, 99)
            gone = f"/{jobs[0]}/"
            wait_until(
                lambda: not any(gone in key for key in files.stored_keys()), "files gone", 60
            )
        last_written = write_until_lost(postgres)
        shutil.rmtree(postgres.data)
        # From here on it counts.
        began = time.monotonic()
        restored = restore(
            archive, folder, "--type=time", f"--target={chosen:%Y-%m-%d %H:%M:%S.%f}+00"
        )
        cleaning.callback(restored.close)
        database_s = time.monotonic() - began
        environment |= {"PYTHONPATH": str(ROOT)}
        brought_back = bring_files_back(restored, environment, chosen)
        files_s = time.monotonic() - began - database_s
        found = rows_of(restored)
        assert found == tables, {name for name in tables if found.get(name) != tables[name]}
        now = files_of(files)
        assert {name: now.get(name) for name in stored} == stored
        with stack_on(restored, environment, folder) as stack:
            client = voicereel.Client(key, stack.url)
            # The SDK compares what comes with the hash that the job says.
            assert client.download_audio(jobs[0], folder / "back.wav").stat().st_size > 1_000
            rto_s = time.monotonic() - began
        restored.kill()
        latest = restore(archive, folder, "--type=default")
        cleaning.callback(latest.close)
        lost_s = last_written - beat_of(latest)
        return Drill(
            backup_s,
            database_s,
            files_s,
            rto_s,
            lost_s,
            {name: count for name, (count, _) in tables.items() if count},
            len(stored),
            brought_back,
        )


@contextlib.contextmanager
def stack_on(
    postgres: Postgres, environment: Mapping[str, str], folder: Path
) -> Iterator[LocalStack]:
    with (
        (folder / "voicereel.log").open("ab") as log,
        LocalStack(
            environment={**environment, "DATABASE_URL": postgres.url_of("voicereel_web")},
            owner={"DATABASE_URL": postgres.url_of("voicereel_migrator")},
            operators={"DATABASE_URL": postgres.url_of("voicereel_operations")},
            log=log,
        ) as stack,
    ):
        yield stack


def speak(client: voicereel.Client, speaker_id: str, number: int) -> str:
    """A job that is done. Returns its id."""
    job = client.synthesize([{"speaker_id": speaker_id, "text": f"This is take {number}."}])
    return client.wait_for_job(job.id, timeout_s=120).id


def rows_of(postgres: Postgres) -> dict[str, tuple[int, str]]:
    """Of each table: how many rows, and a hash of all that is in them."""
    found = {}
    with (
        contextlib.closing(psycopg2.connect(postgres.url)) as database,
        database.cursor() as cursor,
    ):
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for (table,) in cursor.fetchall():
            hashed = "md5(coalesce(string_agg(r::text, chr(10) ORDER BY r::text), ''))"
            cursor.execute(f'SELECT count(*), {hashed} FROM "{table}" r')  # nosec B608
            found[table] = cursor.fetchone()
    return found


def files_of(files: SeaweedFS) -> dict[str, str]:
    """A hash of each file of the service's."""
    client = files.client()
    return {
        key: hashlib.sha256(
            client.get_object(Bucket=files.BUCKET, Key=key)["Body"].read()
        ).hexdigest()
        for key in files.stored_keys("t/")
    }


def write_until_lost(postgres: Postgres) -> float:
    """Write for two archive_timeouts and then lose the machine. Returns when the last write was, by the
    server's clock.
    """
    with contextlib.closing(psycopg2.connect(postgres.url)) as database:
        database.autocommit = True
        with database.cursor() as cursor:
            cursor.execute("CREATE TABLE drill_beat (at timestamptz NOT NULL)")
            # On a busy machine the archive may be behind by more than we are about to write.
            cursor.execute("SELECT pg_walfile_name(pg_switch_wal())")
            (segment,) = cursor.fetchone()

            def is_archived() -> bool:
                cursor.execute("SELECT last_archived_wal >= %s FROM pg_stat_archiver", [segment])
                return bool(cursor.fetchone()[0])

            wait_until(is_archived, "the log so far archived", 60)
            until = time.monotonic() + 2.5 * ARCHIVE_TIMEOUT_S
            while time.monotonic() < until:
                cursor.execute(
                    "INSERT INTO drill_beat VALUES (clock_timestamp()) RETURNING extract(epoch FROM at)"
                )
                (last,) = cursor.fetchone()
                time.sleep(0.1)
    postgres.kill()
    return float(last)


def beat_of(postgres: Postgres) -> float:
    with (
        contextlib.closing(psycopg2.connect(postgres.url)) as database,
        database.cursor() as cursor,
    ):
        cursor.execute("SELECT extract(epoch FROM max(at)) FROM drill_beat")
        return float(cursor.fetchone()[0])


def restore(archive: Archive, folder: Path, *target: str) -> Postgres:
    """A fresh cluster out of the archive, which takes writes."""
    postgres = Postgres(folder / "restored", *archive.settings()[:-1], data=Postgres.new_folder())
    archive.point_at(postgres.data, postgres.port)
    # The drill's machine must not write into the archive of the one it stands in for.
    action = [] if target == ("--type=default",) else ["--target-action=promote"]
    archive.run(*target, *action, "--archive-mode=off", "restore")
    postgres.start()

    def takes_writes() -> bool:
        with (
            contextlib.closing(psycopg2.connect(postgres.url)) as database,
            database.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_is_in_recovery()")
            return not cursor.fetchone()[0]

    wait_until(takes_writes, "the end of the recovery", 120)
    return postgres


def bring_files_back(postgres: Postgres, environment: Mapping[str, str], at: datetime) -> int:
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "manage.py", "restore_files", at.isoformat()],
        cwd=ROOT,
        env=os.environ | environment | {"DATABASE_URL": postgres.url_of("voicereel_operations")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return int(done.stdout.split()[0])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="voicereel-drill-") as folder:
        drill = run_drill(Path(folder))
    print(f"full backup: {drill.backup_s:.1f} s")
    print(
        f"RTO: {drill.rto_s:.1f} s (database {drill.database_s:.1f} s, files {drill.files_s:.1f} s, then the "
        "start of the service and an old job's audio)"
    )
    print(
        f"RPO: {drill.lost_s:.1f} s of writes were lost with the machine, with archive_timeout "
        f"{ARCHIVE_TIMEOUT_S} s; production's is 60 s"
    )
    print(
        f"back, bit for bit: {sum(drill.tables.values())} rows in {len(drill.tables)} tables, ",
        end="",
    )
    print(f"{drill.files} files, {drill.brought_back} of which had been deleted")


if __name__ == "__main__":
    main()
