"""Customers for a benchmark: tenants, keys, speakers, and as many finished jobs as it asks for."""

import csv
import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg2

from accounts.identifiers import new_id
from voicereel_site.local_stack import ROOT

_PER_COPY = 20_000


@dataclass(frozen=True)
class Customer:
    tenant_id: str
    key: str
    speakers: Sequence[str]
    jobs: list[str]  # finished ones


def make_customers(environment: Mapping[str, str], tenants: int, speakers: int) -> list[Customer]:
    """Tenants of the largest plan with a key each.

    environment: of a process that sees all tenants; speakers: in all.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.customers", str(tenants), str(speakers)],
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Customer(**row, jobs=[]) for row in json.loads(done.stdout)]


def add_jobs(database_url: str, customers: Sequence[Customer], count: int, lines: int) -> None:
    """Finished jobs, in turn for each customer, as their rows are; there are no files behind them."""
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        now = datetime.now(UTC).isoformat()
        for start in range(0, count, _PER_COPY):
            made = []
            for number in range(start, min(start + _PER_COPY, count)):
                customer = customers[number % len(customers)]
                job_id = new_id("job")
                customer.jobs.append(job_id)
                made.append((job_id, customer))
            _copy(cursor, "synthesis_job", (_job(*one, lines, now) for one in made))
            _copy(cursor, "synthesis_line", _lines(made, lines))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    connection.close()


def _job(job_id: str, customer: Customer, lines: int, now: str) -> dict[str, Any]:
    folder = f"t/{customer.tenant_id}/j/{job_id}"
    kinds = ("json", "vtt", "srt")
    return {
        "id": job_id,
        "tenant_id": customer.tenant_id,
        "api_key_id": "key_" + "0" * 26,
        "live": True,
        "title": "Episode 12",
        "status": "succeeded",
        "output": '{"format":"wav","sample_rate":8000,"bitrate_kbps":null,"bit_depth":16}',
        "captions": json.dumps(kinds),
        "seed": 1,
        "metadata": '{"project":"podcast"}',
        "notices": "[]",
        "priority": 0,
        "due_at": now,
        "handed_at": now,
        "origin": "{}",
        "lines_total": lines,
        "lines_done": lines,
        "attempt": 1,
        "lines_done_at_claim": 0,
        "fruitless_attempts": 0,
        "error_code": "",
        "error_detail": "",
        "error_line_id": "",
        "audio_key": f"{folder}/audio-1.wav",
        "audio_ms": 3_000,
        "audio_bytes": 48_044,
        "audio_sha256": secrets.token_hex(32),
        "caption_keys": json.dumps({kind: f"{folder}/captions-1.{kind}" for kind in kinds}),
        "created_at": now,
        "started_at": now,
        "finished_at": now,
        "retention_hours": "",
    }


def _lines(made: Iterable[tuple[str, Customer]], lines: int) -> Iterator[dict[str, Any]]:
    for job_id, customer in made:
        for position in range(lines):
            yield {
                "tenant_id": customer.tenant_id,
                "job_id": job_id,
                "position": position,
                "line_id": str(position + 1),
                "speaker_id": customer.speakers[position % 2],
                "text": "Good evening, and welcome.",
                "language": "en",
                "speed": 1.0,
                "audio_key": f"t/{customer.tenant_id}/j/{job_id}/lines/0000-1.flac",
                "audio_start": position * 2_400,
                "sample_count": 2_400,
                "sample_rate": 24_000,
                "words": '[["Good",0,2400,true]]',
                "word_timing": "aligned",
            }


def _copy(cursor: Any, table: str, rows: Iterable[dict[str, Any]]) -> None:
    buffer = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(buffer, list(row))
        writer.writerow(row)
    assert writer is not None
    buffer.seek(0)
    # An unquoted empty value is NULL, but for texts that may not be: those are empty.
    filled = ", ".join(name for name in writer.fieldnames if name.startswith("error_"))
    forced = f", FORCE_NOT_NULL ({filled})" if filled else ""
    columns = ", ".join(writer.fieldnames)
    cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv{forced})", buffer)


def _make(tenants: int, speakers: int) -> list[dict[str, Any]]:
    """In a process that has Django."""
    import django

    django.setup()
    from django.db import transaction
    from django.utils import timezone

    from accounts.keys import issue_key
    from accounts.models import Tenant
    from speakers.models import ReferenceClip, Speaker

    made = []
    with transaction.atomic():
        for number in range(tenants):
            tenant = Tenant.objects.create(name=f"Tenant {number}", plan="enterprise")
            rows = [
                Speaker(
                    tenant=tenant,
                    name=f"Speaker {index}",
                    language="en",
                    status=Speaker.Status.READY,
                    reference_ms=35_000,
                    voice_engine="tone",
                    voice_mode="nearest_preset",
                    voice_data={"pitch_hz": 150 + index, "level": 0.5},
                    consent_at=timezone.now(),
                    consent_key_id="key_" + "0" * 26,
                    consent_version="2026-11",
                )
                for index in range(max(2, speakers // tenants))
            ]
            Speaker.objects.bulk_create(rows)
            ReferenceClip.objects.bulk_create(
                ReferenceClip(
                    tenant=tenant,
                    speaker=row,
                    position=0,
                    audio_key=f"{row.folder}/reference-0.flac",
                    duration_ms=35_000,
                )
                for row in rows
            )
            key = issue_key(tenant).key
            ids = [row.pk for row in rows]
            made.append({"tenant_id": tenant.pk, "key": key, "speakers": ids})
    return made


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
    json.dump(_make(*map(int, sys.argv[1:])), sys.stdout)
