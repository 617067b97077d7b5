"""The command `voicereel`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from . import exit_codes
from .account_commands import audit, erase_account, erase_speaker, export, members
from .billing_commands import billing, invoices, money, usage
from .billing_models import Preview
from .client import DEFAULT_BASE_URL, VERSION, Client
from .errors import InvalidRequest, JobFailed, SpeakerFailed, VoiceReelError
from .exit_codes import Stopped
from .key_commands import keys
from .models import Job, Pronunciation, Speaker
from .pronunciation_file import parse_pronunciations
from .request_file import read_request
from .script_text import SpeakerNames
from .session import Session, json_option, pass_session, yes_option
from .terminal import duration, in_bytes, in_lines, one_line, table
from .webhook_commands import webhooks

FORMATS = ("wav", "mp3", "flac", "opus", "m4a")
CAPTION_KINDS = ("json", "vtt", "srt")
JOB_STATUSES = ("queued", "processing", "succeeded", "failed", "canceled")
_FORMAT_OF_SUFFIX = {f".{name}": name for name in FORMATS} | {".ogg": "opus"}
_VOICE_MODES = {
    "nearest_preset": "the built-in voice nearest to the recordings, not a copy of them",
    "adapted": "a built-in voice adapted towards the recordings",
    "cloned": "cloned from the recordings",
}
_QUALITY_WORDS: dict[str, Callable[[Any], str]] = {
    "speech_ms": lambda value: f"speech found: {duration(value)}",
    "loudness_lufs": lambda value: f"loudness: {value:.0f} LUFS",
    "clipped_percent": lambda value: f"clipped: {value:.1f} % of the samples",
    "signal_to_noise_db": lambda value: f"speech above noise: {value:.0f} dB",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    session = Session()
    try:
        # In this mode click returns the exit code of --help and --version, else None.
        return cli.main(arguments, "voicereel", standalone_mode=False, obj=session) or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.FAILURE
    except (VoiceReelError, Stopped, OSError, click.ClickException, click.Abort) as exc:
        # A usage error can come before click has seen the option.
        if session.as_json or "--json" in arguments:
            click.echo(json.dumps(exit_codes.error_json(exc), ensure_ascii=False, indent=2))
        else:
            click.echo(exit_codes.error_text(exc), err=True)
        return exit_codes.exit_code(exc)


# Options shared by several commands


no_wait_option = click.option("--no-wait", is_flag=True, help="Print the id and do not wait.")
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    help="Seconds to wait at most.",
)


def _caption_kinds(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> list[str] | None:
    if value is None:
        return None
    kinds = list(dict.fromkeys(kind.strip().lower() for kind in value.split(",")))
    for kind in kinds:
        if kind not in CAPTION_KINDS:
            raise click.BadParameter(f'"{kind}" is not one of {", ".join(CAPTION_KINDS)}')
    return kinds


def _pairs(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, item = value.partition("=")
        if not (name.strip() and equals and item.strip()):
            raise click.BadParameter(f'"{value}" is not of the form {parameter.metavar}')
        pairs[name.strip()] = item.strip()
    return pairs


def _hours(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> int | str | None:
    if value is None or value == "forever":
        return value
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f'"{value}" is neither a number of hours nor forever')
    return int(value)


captions_option = click.option(
    "--captions",
    metavar="KINDS",
    callback=_caption_kinds,
    help="Captions to write beside the audio: any of json,vtt,srt.",
)
srt_bom_option = click.option(
    "--srt-bom", is_flag=True, help="Begin the srt file with a byte-order mark."
)


@click.group(epilog=exit_codes.HELP, no_args_is_help=False)
@click.version_option(VERSION, prog_name="voicereel", message="%(prog)s %(version)s")
@click.option(
    "--url",
    envvar="VOICEREEL_URL",
    show_envvar=True,
    help=f"The server's address.  [default: {DEFAULT_BASE_URL}]",
)
@click.option("--api-key", envvar="VOICEREEL_API_KEY", hidden=True)
@json_option
@pass_session
def cli(session: Session, url: str | None, api_key: str | None) -> None:
    """Register voices, and turn scripts into conversations with captions.

    The API key is read from VOICEREEL_API_KEY.
    """
    session.url = url
    session.api_key = api_key


@cli.group(no_args_is_help=False)
@json_option
def speakers() -> None:
    """Register, list and delete voices."""


@cli.group(no_args_is_help=False)
@json_option
def jobs() -> None:
    """Follow, download, cancel and delete synthesis jobs."""


@cli.group(invoke_without_command=True)
@json_option
@click.pass_context
def pronunciations(context: click.Context) -> None:
    """List and set how words are spoken.

    Without a command it lists.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_pronunciations)


# Speakers


@speakers.command("register")
@click.argument("name")
@click.argument(
    "audio", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--language", default="en", show_default=True, help="Language of the recordings.")
@click.option(
    "--transcript-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the recordings say, word for word; a voice that is cloned needs it.",
)
@click.option("--consent", is_flag=True, help="The person recorded has agreed to this use.")
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, callback=_pairs)
@no_wait_option
@timeout_option
@json_option
@pass_session
def register_speaker(
    session: Session,
    name: str,
    audio: tuple[Path, ...],
    language: str,
    transcript_file: Path | None,
    consent: bool,
    metadata: dict[str, str],
    no_wait: bool,
    timeout_s: float,
) -> None:
    """Register the voice of NAME from one or more AUDIO recordings."""
    if not consent:
        raise click.UsageError(
            "pass --consent to confirm that the person recorded has agreed to this use"
        )
    transcript = None if transcript_file is None else _read_text(transcript_file)
    with session.client() as client:
        with session.bar("uploading", in_bytes) as bar:
            speaker = client.register_speaker(
                name,
                audio,
                language=language,
                consent=True,
                transcript=transcript,
                metadata=metadata or None,
                on_progress=bar.update,
            )
        if not no_wait:
            session.note(f"{speaker.id} is uploaded; its voice is being made")
            with _hints(speaker.id, f"to see how it goes: voicereel speakers show {speaker.id}"):
                speaker = client.wait_for_speaker(speaker.id, timeout_s)
    session.result(speaker.raw, speaker.id if no_wait else _described(speaker))


@speakers.command("list")
@json_option
@pass_session
def list_speakers(session: Session) -> None:
    """List all registered voices."""
    with session.client() as client:
        found = list(client.iter_speakers())
    rows = [
        (item.id, item.name, item.language, item.status, item.voice_mode or "-") for item in found
    ]
    text = table(("ID", "NAME", "LANGUAGE", "STATUS", "VOICE"), rows) if rows else "no speakers"
    session.result({"data": [item.raw for item in found]}, text)


@speakers.command("show")
@click.argument("speaker_id", metavar="ID")
@json_option
@pass_session
def show_speaker(session: Session, speaker_id: str) -> None:
    """Show one voice and how good it is."""
    with session.client() as client:
        speaker = client.get_speaker(speaker_id)
    session.result(speaker.raw, _described(speaker))


@speakers.command("delete")
@click.argument("speaker_id", metavar="ID")
@yes_option
@json_option
@pass_session
def delete_speaker(session: Session, speaker_id: str, yes: bool) -> None:
    """Delete a voice and its recordings."""
    with session.client() as client:
        session.confirm(f"Delete {speaker_id} and its recordings?", yes)
        client.delete_speaker(speaker_id)
    session.result({"id": speaker_id, "deleted": True}, f"{speaker_id} is deleted")


# Synthesis


@cli.command()
@click.argument("script")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Audio file to write."
)
@captions_option
@srt_bom_option
@click.option("--title")
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(FORMATS),
    help="Else as the output file's name ends.",
)
@click.option("--sample-rate", type=int, help="In Hz.")
@click.option("--bitrate-kbps", type=int, help="In kilobits per second.")
@click.option("--bit-depth", type=int, help="In bits per sample.")
@click.option("--seed", type=int, help="Makes the same request sound the same again.")
@click.option(
    "--retention-hours",
    metavar="HOURS",
    callback=_hours,
    help="How long the job is kept, or forever; else as the account is set.",
)
@click.option(
    "--speaker",
    "given_speakers",
    metavar="NAME=ID",
    multiple=True,
    callback=_pairs,
    help="The voice for a name in the script; may be repeated.",
)
@click.option(
    "--max-cost",
    "max_cost_minor",
    type=click.IntRange(0),
    metavar="AMOUNT",
    help="Refuse a script that may cost more, in the smallest unit (won, cents).",
)
@click.option("--dry-run", is_flag=True, help="Say what it would cost and how long it would be.")
@no_wait_option
@timeout_option
@json_option
@pass_session
def synthesize(
    session: Session,
    script: str,
    output: Path | None,
    captions: list[str] | None,
    srt_bom: bool,
    title: str | None,
    audio_format: str | None,
    sample_rate: int | None,
    bitrate_kbps: int | None,
    bit_depth: int | None,
    seed: int | None,
    retention_hours: Any,
    given_speakers: dict[str, str],
    max_cost_minor: int | None,
    dry_run: bool,
    no_wait: bool,
    timeout_s: float,
) -> None:
    """Turn SCRIPT into one audio file, with captions beside it.

    SCRIPT is plain text of "Name: line" rows, a JSON list of lines, or a whole JSON
    request; - is stdin. Names are those of registered speakers, or given by --speaker. In
    plain text a row without a name goes on with the line before it, and rows that start
    with # are left out.
    """
    if output is None and not (no_wait or dry_run):
        raise click.UsageError("give the audio file to write with -o, or pass --no-wait")
    if output is not None:
        audio_format = audio_format or _FORMAT_OF_SUFFIX.get(output.suffix.lower())
        if audio_format is None:
            raise click.UsageError(f"{output} ends in none of {', '.join(_FORMAT_OF_SUFFIX)}")
        _check_directory(output)
    request = read_request(script)
    options = {
        "format": audio_format,
        "sample_rate": sample_rate,
        "bitrate_kbps": bitrate_kbps,
        "bit_depth": bit_depth,
    }
    wanted = {**(request.keys.get("output") or {}), **_chosen(options)}
    chosen = {
        "title": title,
        "captions": captions,
        "seed": seed,
        "retention_hours": retention_hours,
        "max_cost_minor": max_cost_minor,
    }
    keys = {**request.keys, **_chosen(chosen)}
    keys["output"] = wanted or None
    with session.client() as client:
        keys["script"] = request.script(SpeakerNames(given_speakers, client.iter_speakers))
        if dry_run:
            _report_preview(session, client.preview(**keys))
            return
        with _hints(None, "to see whether the job has begun: voicereel jobs list"):
            job = client.synthesize(**keys)
        if no_wait or output is None:
            _report_started(session, job)
            return
        _finish(session, client, job.id, output, keys.get("captions") or [], srt_bom, timeout_s)


def _report_preview(session: Session, preview: Preview) -> None:
    price = preview.highest_price
    lines = [
        "it would be taken" if preview.valid else f"it would be refused: {preview.detail}",
        f"  about {duration(preview.predicted_duration_ms)} of audio, "
        f"{duration(preview.longest_duration_ms)} at most",
        f"  {money(price.amount_minor, price.currency)} at most, before tax",
    ]
    for error in preview.errors:
        place = f"line {error.line_id}" if error.line_id else error.pointer
        lines.append(f"  {place}: {one_line(error.detail)}")
    session.result(preview.raw, "\n".join(lines))


# Jobs


@jobs.command("list")
@click.option("--status", type=click.Choice(JOB_STATUSES))
@json_option
@pass_session
def list_jobs(session: Session, status: Any) -> None:
    """List all jobs, newest first."""
    with session.client() as client:
        found = list(client.iter_jobs(status))
    rows = [
        (
            job.id,
            job.status,
            in_lines(job.progress.lines_done, job.progress.lines_total) if job.progress else "-",
            job.title or "-",
        )
        for job in found
    ]
    text = table(("ID", "STATUS", "PROGRESS", "TITLE"), rows) if rows else "no jobs"
    session.result({"data": [job.raw for job in found]}, text)


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@json_option
@pass_session
def show_job(session: Session, job_id: str) -> None:
    """Show how far one job is."""
    with session.client() as client:
        job = client.get_job(job_id)
    lines = [f"{job.id} is {job.status}"]
    if job.mode == "test":
        lines.append("  mode: test, in tones and for nothing")
    if job.title:
        lines.append(f"  title: {one_line(job.title)}")
    if job.progress:
        lines.append(f"  done: {in_lines(job.progress.lines_done, job.progress.lines_total)}")
    if job.queue_position is not None:
        begins = (
            f", begins about {job.estimated_start_at:%H:%M:%S} UTC"
            if job.estimated_start_at
            else ""
        )
        lines.append(f"  waiting: {job.queue_position:,} jobs before it{begins}")
    if job.error:
        line = f" (line {job.error.line_id})" if job.error.line_id else ""
        lines.append(f"  reason{line}: {one_line(job.error.detail)}")
    if job.expires_at:
        lines.append(f"  erased at: {job.expires_at:%Y-%m-%d %H:%M} UTC")
    if job.audio:
        length, size_mb = duration(job.audio.duration_ms), job.audio.size_bytes / 1e6
        lines.append(f"  audio: {job.audio.format}, {length}, {size_mb:.1f} MB")
    if job.captions:
        lines.append(f"  captions: {', '.join(job.captions)}")
    if job.cost:
        lines.append(f"  cost: {money(job.cost.amount_minor, job.cost.currency)} before tax")
    elif job.highest_price and not job.is_over:
        price = job.highest_price
        lines.append(f"  cost: {money(price.amount_minor, price.currency)} at most, before tax")
    lines += (f"  note: {one_line(notice)}" for notice in job.notices)
    session.result(job.raw, "\n".join(lines))


@jobs.command("download")
@click.argument("job_id", metavar="ID")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Audio file to write.",
)
@captions_option
@srt_bom_option
@timeout_option
@json_option
@pass_session
def download_job(
    session: Session,
    job_id: str,
    output: Path,
    captions: list[str] | None,
    srt_bom: bool,
    timeout_s: float,
) -> None:
    """Download a job's files, waiting for the job if it is still running."""
    _check_directory(output)
    with session.client() as client:
        _finish(session, client, job_id, output, captions or [], srt_bom, timeout_s)


@jobs.command("cancel")
@click.argument("job_id", metavar="ID")
@json_option
@pass_session
def cancel_job(session: Session, job_id: str) -> None:
    """Stop a job."""
    with session.client() as client:
        job = client.cancel_job(job_id)
    session.result(job.raw, f"{job.id} is {job.status}")


@jobs.command("retry")
@click.argument("job_id", metavar="ID")
@no_wait_option
@timeout_option
@json_option
@pass_session
def retry_job(session: Session, job_id: str, no_wait: bool, timeout_s: float) -> None:
    """Start a failed or canceled job again."""
    with session.client() as client:
        job = client.retry_job(job_id)
        if no_wait:
            _report_started(session, job)
            return
        with _hints(job.id, *_job_hints(job.id, "FILE")):
            job = _wait_for_job(session, client, job.id, timeout_s)
    session.result(job.raw, f"{job.id} is done: voicereel jobs download {job.id} -o FILE")


@jobs.command("delete")
@click.argument("job_id", metavar="ID")
@yes_option
@json_option
@pass_session
def delete_job(session: Session, job_id: str, yes: bool) -> None:
    """Delete a job with its audio and captions."""
    with session.client() as client:
        session.confirm(f"Delete {job_id} with its audio and captions?", yes)
        client.delete_job(job_id)
    session.result({"id": job_id, "deleted": True}, f"{job_id} is deleted")


# Pronunciations


@pronunciations.command("list")
@json_option
@pass_session
def list_pronunciations(session: Session) -> None:
    """List the pronunciation dictionary."""
    with session.client() as client:
        found = client.pronunciations()
    rows = [(entry.language, entry.written, entry.spoken) for entry in found]
    text = table(("LANGUAGE", "WRITTEN", "SPOKEN"), rows) if rows else "no pronunciations"
    session.result(_dictionary(found), text)


@pronunciations.command("set")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@json_option
@pass_session
def set_pronunciations(session: Session, file: Path) -> None:
    """Replace the whole pronunciation dictionary by that of FILE.

    FILE is CSV with the columns language,written,spoken, named in its first row, or JSON as
    "voicereel pronunciations --json" prints it; - is stdin. A language is a code without a
    region, such as en or ko.
    """
    given = parse_pronunciations(_read_text(file), file)
    try:
        with session.client() as client:
            made = client.replace_pronunciations(given.entries)
    except InvalidRequest as exc:
        raise given.located(exc) from exc
    session.result(_dictionary(made), f"pronunciations set: {len(made)}")


cli.add_command(keys)
cli.add_command(webhooks)
cli.add_command(usage)
cli.add_command(invoices)
cli.add_command(billing)
cli.add_command(members)
cli.add_command(audit)
cli.add_command(export)
cli.add_command(erase_speaker)
cli.add_command(erase_account)
cli.add_command(register_speaker, "register")
cli.add_command(list_speakers, "list-speakers")
cli.add_command(show_job, "job")


# Steps of the commands


@contextmanager
def _hints(resource_id: str | None, *hints: str) -> Iterator[None]:
    """Add to an error or Ctrl-C what the user can do from here."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(None, resource_id, hints) from None
    except SpeakerFailed:
        raise
    except JobFailed as exc:
        raise Stopped(
            exc, exc.job.id, (f"to run it again: voicereel jobs retry {exc.job.id}",)
        ) from exc
    except (VoiceReelError, OSError) as exc:
        may_pass = exit_codes.exit_code(exc) in (exit_codes.FAILURE, exit_codes.UNAVAILABLE)
        raise Stopped(exc, resource_id, hints if resource_id and may_pass else ()) from exc


def _job_hints(job_id: str, download_arguments: str) -> tuple[str, str]:
    return (
        f"to go on:  voicereel jobs download {job_id} -o {download_arguments}",
        f"to cancel: voicereel jobs cancel {job_id}",
    )


def _finish(
    session: Session,
    client: Client,
    job_id: str,
    output: Path,
    captions: Sequence[Any],
    srt_bom: bool,
    timeout_s: float,
) -> None:
    """Wait for the job, download its files and report."""
    arguments = shlex.quote(str(output))
    if captions:
        arguments += f" --captions {','.join(captions)}"
    if srt_bom:
        arguments += " --srt-bom"
    with _hints(job_id, *_job_hints(job_id, arguments)):
        job = _wait_for_job(session, client, job_id, timeout_s)
        with session.bar("downloading", in_bytes) as bar:
            client.download_audio(job, output, bar.update)
        written = {kind: output.with_suffix(f".{kind}") for kind in captions}
        for kind, path in written.items():
            client.download_captions(job, kind, path, bom=srt_bom and kind == "srt")
    if job.audio and _FORMAT_OF_SUFFIX.get(output.suffix.lower()) != job.audio.format:
        session.note(f"note: {output} holds {job.audio.format} audio")
    speed = job.speed_x_real_time
    length_ms = job.audio.duration_ms if job.audio else 0
    text = ", ".join(map(str, (output, *written.values()))) + f": {duration(length_ms)}"
    if speed is not None:
        text += f", made at {speed:.1f} x real time"
    document = {
        "job": job.raw,
        "files": {"audio": str(output), "captions": {k: str(p) for k, p in written.items()}},
        "duration_ms": length_ms,
        "speed_x_real_time": speed,
    }
    session.result(document, text)


def _wait_for_job(session: Session, client: Client, job_id: str, timeout_s: float) -> Job:
    with session.bar("speaking", in_lines) as bar:

        def show(job: Job) -> None:
            if job.progress:
                bar.update(job.progress.lines_done, job.progress.lines_total)

        job = client.wait_for_job(job_id, timeout_s, show)
    for notice in job.notices:
        session.note(f"note: {notice}")
    return job


def _report_started(session: Session, job: Job) -> None:
    session.result(job.raw, job.id)
    for notice in job.notices:
        session.note(f"note: {notice}")


def _dictionary(entries: Sequence[Pronunciation]) -> dict[str, Any]:
    return {"entries": [entry.to_json() for entry in entries]}


def _described(speaker: Speaker) -> str:
    lines = [f"{one_line(speaker.name)} ({speaker.id}) is {speaker.status}"]
    if speaker.voice_mode:
        lines.append(f"  voice: {_VOICE_MODES.get(speaker.voice_mode, speaker.voice_mode)}")
    if speaker.similarity is not None:
        lines.append(f"  similarity to the recordings: {speaker.similarity:.2f} of 1")
    if speaker.reference_ms is not None:
        lines.append(f"  recordings used: {duration(speaker.reference_ms)}")
    quality = speaker.quality or {}
    for name, in_words in _QUALITY_WORDS.items():
        if quality.get(name) is not None:
            lines.append(f"  {in_words(quality[name])}")
    lines += (f"  advice: {one_line(warning)}" for warning in quality.get("warnings") or ())
    lines += (f"  problem: {one_line(reason.detail)}" for reason in speaker.failure_reasons)
    return "\n".join(lines)


def _read_text(path: Path) -> str:
    try:
        if path == Path("-"):
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise click.UsageError(f"{path} is not UTF-8 text") from exc


def _check_directory(output: Path) -> None:
    if not os.access(output.parent, os.W_OK):
        raise click.UsageError(f"cannot write to the directory {output.parent}")


def _chosen(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
