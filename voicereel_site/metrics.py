"""What Prometheus sees of the work itself, counted by the process that does it.

No label names a tenant, a job, a person or a text: each has a handful of values, which a test pins. What is
told from rows and not from one process's doings is in synthesis.fleet_metrics; the fish-speech engine has
its own in synthesis.engines.fish.metrics.
"""

from prometheus_client import Counter, Histogram, disable_created_metrics

disable_created_metrics()  # as many series again, which no rule asks

# Seconds; the promises are about minutes.
_WORK_BUCKETS = (0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, float("inf"))

KEY_FAILURES = Counter("voicereel_key_failures", "Requests with an API key that opens nothing")
OUTAGES = Counter(
    "voicereel_outages", "Uses of a server that we stand on which found it away", ["server"]
)
TASKS = Counter("voicereel_tasks", "Tasks that a worker ended", ["task", "outcome"])
TASK_SECONDS = Histogram(
    "voicereel_task_seconds", "How long a worker had a task", ["queue"], buckets=_WORK_BUCKETS
)
JOBS_HANDED = Counter("voicereel_jobs_handed", "Jobs that the dispatcher handed to workers")
JOB_ENDS = Counter("voicereel_job_ends", "Attempts at jobs, by how they ended", ["outcome"])
JOB_RETRIES = Counter("voicereel_job_retries", "Jobs taken up again after an attempt")
JOB_SECONDS = Histogram(
    "voicereel_job_seconds", "From a live job's first line to its files", buckets=_WORK_BUCKETS
)
PROMISES = Counter(
    "voicereel_job_promises", "Live jobs done, by whether as fast as promised", ["kept"]
)
LINES = Counter("voicereel_lines", "Lines spoken and kept")
AUDIO_SECONDS = Counter("voicereel_audio_seconds", "Audio of the lines spoken")
SPEAKING_SECONDS = Counter(
    "voicereel_speaking_seconds",
    "Time of jobs with the engine; over the audio's this is a job's real-time factor",
)
OUTBOX = Counter("voicereel_outbox_messages", "Messages out of the outbox", ["kind", "outcome"])
WEBHOOK_ATTEMPTS = Counter(
    "voicereel_webhook_attempts", "Attempts to tell a customer's webhook", ["outcome"]
)

# From the start on, so that a rule finds a zero and not nothing.
for _counter, _name, _values in (
    (OUTAGES, "server", ("broker", "database", "disk", "storage")),
    (JOB_ENDS, "outcome", ("succeeded", "failed", "given_back", "lost")),
    (PROMISES, "kept", ("yes", "no")),
    (WEBHOOK_ATTEMPTS, "outcome", ("taken", "refused")),
):
    for _value in _values:
        _counter.labels(**{_name: _value})
for _kind in ("task", "delete_files", "mail"):
    for _outcome in ("published", "failed"):
        OUTBOX.labels(_kind, _outcome)
