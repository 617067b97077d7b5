"""Comparisons: made, listened to, counted, and what is made of their outcome."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from django.core import signing
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.callers import Caller
from accounts.lookup import find_row
from accounts.models import Tenant, TenantQuerySet
from accounts.tenancy import act_for, acting_for
from speakers.enrollment import speak_as
from speakers.models import Speaker
from synthesis.comparison.pairing import Pair, pairs_of
from synthesis.comparison.preference import ALPHA, Preference, Verdict, preference, verdict
from synthesis.models import Comparison, Job, Line, Listener, Variant, Vote
from synthesis.submission import delete_job, submit_job
from voicereel_site.errors import FieldError, Refusal

MOST_COMPARISONS = 200  # of a tenant
# A clip is heard by strangers without an account.
MOST_LISTENERS = 1_000
CLIP_RATE = 24_000  # Hz
_OUTPUT = {"format": "wav", "sample_rate": CLIP_RATE}
_SALT = "voicereel.comparison"


def list_comparisons(tenant: Tenant) -> TenantQuerySet:
    """A tenant's comparisons."""
    return Comparison.objects.for_tenant(tenant)


def get_comparison(tenant: Tenant, comparison_id: str) -> Comparison:
    """This tenant's comparison, as far as its jobs are by now. Raises not_found."""
    found: Comparison = find_row(list_comparisons(tenant), comparison_id, "comparison")
    refresh(tenant.pk, [found])
    return found


def start_comparison(caller: Caller, asked: Mapping[str, Any]) -> Comparison:
    """Have the lines spoken by each variant. Inside a transaction: all of them, or none.

    asked: what CreateComparisonRequest validated. Raises as submit_job, and validation_error for variants
    that are the same, or if there are too many comparisons.
    """
    tenant = caller.tenant
    if list_comparisons(tenant).count() >= MOST_COMPARISONS:
        detail = _("You have %(most)s comparisons. Delete one first.") % {"most": MOST_COMPARISONS}
        raise Refusal("validation_error", detail, 409)
    _refuse_the_same(asked["variants"])
    comparison: Comparison = Comparison.objects.create(
        tenant=tenant, title=asked["title"], texts=list(asked["texts"])
    )
    for position, variant in enumerate(asked["variants"]):
        job = _render(caller, comparison, position, variant)
        Variant.objects.create(
            tenant=tenant,
            comparison=comparison,
            position=position,
            label=variant.get("label") or _label(tenant, variant),
            speaker_id=variant["speaker_id"],
            speed=variant["speed"],
            job_id=job.pk,
        )
    return comparison


def _refuse_the_same(variants: Sequence[Mapping[str, Any]]) -> None:
    seen: set[tuple[str, float]] = set()
    for index, variant in enumerate(variants):
        what = variant["speaker_id"], variant["speed"]
        if what in seen:
            detail = _("Another variant has this speaker at this speed. Nobody could prefer one.")
            pointer = f"/variants/{index}"
            raise Refusal("validation_error", detail, errors=[FieldError(pointer, detail)])
        seen.add(what)


def _render(
    caller: Caller, comparison: Comparison, position: int, variant: Mapping[str, Any]
) -> Job:
    request = {
        "title": f"{comparison.title} ({position + 1})",
        "script": [
            {"speaker_id": variant["speaker_id"], "text": text, "speed": variant["speed"]}
            for text in comparison.texts
        ],
        "output": _OUTPUT,
        "captions": [],
        # As long as the comparison, which deletes it.
        "retention_hours": None,
        "metadata": {"comparison": comparison.pk},
    }
    try:
        return submit_job(caller, request)
    except Refusal as refusal:
        errors = [
            FieldError(
                error.pointer.replace("/script/", "/texts/").removesuffix("/text")
                if "/text" in error.pointer
                else f"/variants/{position}/speaker_id",
                error.detail,
                code=error.code,
            )
            for error in refusal.errors
        ]
        raise Refusal(
            refusal.code, refusal.detail, refusal.status, errors[:1], refusal.headers
        ) from refusal


def _label(tenant: Tenant, variant: Mapping[str, Any]) -> str:
    names = Speaker.objects.for_tenant(tenant).filter(pk=variant["speaker_id"])
    name = names.values_list("name", flat=True).get()
    return name if variant["speed"] == 1.0 else f"{name} ×{variant['speed']:g}"


def refresh(tenant_id: str, comparisons: Iterable[Comparison]) -> None:
    """Bring a tenant's comparisons up to date with their jobs: open what is rendered, and fail what has a
    job that failed or was erased. What is closed stays so.
    """
    open_to_change = {row.pk: row for row in comparisons if row.status != Comparison.Status.CLOSED}
    if not open_to_change:
        return
    variants = Variant.objects.for_tenant(tenant_id).filter(comparison__in=open_to_change)
    pairs = list(variants.values_list("comparison_id", "job_id"))
    jobs = Job.objects.for_tenant(tenant_id).filter(pk__in=[job_id for _row, job_id in pairs])
    statuses = dict(jobs.values_list("pk", "status"))
    found: dict[str, set[str]] = defaultdict(set)
    for comparison_id, job_id in pairs:
        found[comparison_id].add(statuses.get(job_id, Job.Status.FAILED))
    for pk, row in open_to_change.items():
        if found[pk] & {Job.Status.FAILED, Job.Status.CANCELED}:
            status = Comparison.Status.FAILED
        elif found[pk] == {Job.Status.SUCCEEDED}:
            status = Comparison.Status.OPEN
        else:
            status = Comparison.Status.PREPARING
        if status != row.status:
            rows = Comparison.objects.for_tenant(tenant_id).filter(pk=pk, status=row.status)
            rows.update(status=status)
            row.status = status


def jobs_of(comparison: Comparison) -> dict[int, Job]:
    """The jobs that its variants were rendered by, by their positions."""
    positions = dict(_variants(comparison).values_list("job_id", "position"))
    rows = Job.objects.for_tenant(comparison.tenant_id).filter(pk__in=positions)
    return {positions[job.pk]: job for job in rows}


def _variants(comparison: Comparison) -> TenantQuerySet:
    return Variant.objects.for_tenant(comparison.tenant_id).filter(comparison=comparison)


# ---------------------------------------------------------------- listening


def link_token(comparison: Comparison) -> str:
    """What lets whoever has it listen and vote."""
    return signing.Signer(salt=_SALT).sign_object([comparison.tenant_id, comparison.pk])


def open_link(token: str) -> Comparison | None:
    """The comparison behind a link, for whose tenant this request acts from here on; None if there is
    none.
    """
    try:
        tenant_id, comparison_id = signing.Signer(salt=_SALT).unsign_object(token)
    except (signing.BadSignature, ValueError):
        return None
    with acting_for(tenant_id):
        rows = Comparison.objects.for_tenant(tenant_id).filter(
            pk=comparison_id, tenant__suspended_at=None
        )
        found: Comparison | None = rows.select_related("tenant").first()
        if found is not None:
            refresh(tenant_id, [found])
    if found is not None:
        act_for(tenant_id)
    return found


def welcome(comparison: Comparison) -> Listener:
    """A new listener. Raises validation_error (409) if it is not open or has had too many."""
    _require_open(comparison)
    with transaction.atomic():
        rows = list_comparisons(comparison.tenant).filter(
            pk=comparison.pk, listeners_count__lt=MOST_LISTENERS
        )
        if not rows.update(listeners_count=F("listeners_count") + 1):
            raise Refusal("validation_error", _("This comparison has had enough listeners."), 409)
        number = rows.model.objects.for_tenant(comparison.tenant).get(pk=comparison.pk)
        made: Listener = Listener.objects.create(
            tenant=comparison.tenant,
            comparison=comparison,
            number=number.listeners_count - 1,
        )
    return made


def _require_open(comparison: Comparison) -> None:
    if comparison.status != Comparison.Status.OPEN:
        detail = _("This comparison takes no votes at the moment.")
        raise Refusal("validation_error", detail, 409)


def listener_of(comparison: Comparison, listener_id: str) -> Listener | None:
    """The comparison's listener with this id."""
    rows = Listener.objects.for_tenant(comparison.tenant_id).filter(comparison=comparison)
    found: Listener | None = rows.filter(pk=listener_id).first()
    return found


@dataclass(frozen=True)
class Course:
    """What a listener hears: their pairs, and how many of them they have voted on."""

    pairs: Sequence[Pair]
    done: int

    @property
    def next(self) -> Pair | None:
        return self.pairs[self.done] if self.done < len(self.pairs) else None


def course_of(comparison: Comparison, listener: Listener) -> Course:
    """A listener's pairs, and how far they are: pairs are voted on one after another."""
    pairs = pairs_of(
        listener.number, len(comparison.texts), _variants(comparison).count(), comparison.pk
    )
    votes = Vote.objects.for_tenant(comparison.tenant_id).filter(listener=listener)
    return Course(pairs, votes.count())


def vote(comparison: Comparison, listener: Listener, index: int, choice: str) -> bool:
    """Take a listener's vote on the pair with this index. Returns whether it counts: nobody votes twice,
    nor on what they have not come to.

    Raises validation_error (409) if the comparison takes none.
    """
    _require_open(comparison)
    course = course_of(comparison, listener)
    if index != course.done or course.next is None:
        return False
    pair = course.next
    try:
        with transaction.atomic():
            Vote.objects.create(
                tenant_id=comparison.tenant_id,
                comparison=comparison,
                listener=listener,
                line=pair.line,
                first=pair.first,
                lower=min(pair.first, pair.second),
                higher=max(pair.first, pair.second),
                choice=choice,
            )
    except IntegrityError:  # sent twice at once
        return False
    return True


# ---------------------------------------------------------------- what came of it


@dataclass(frozen=True)
class PairResult:
    """How one variant fared against another; both by their positions."""

    first: int
    second: int
    preference: Preference
    verdict: Verdict


@dataclass(frozen=True)
class Outcome:
    """shares: of each variant's votes, those that preferred it; leader: the position with the largest,
    or None before any vote; is_decided: whether it is preferred to each other one.
    """

    votes: int
    listeners: int
    shares: Sequence[float]
    pairs: Sequence[PairResult]
    leader: int | None
    is_decided: bool
    no_difference: bool


@dataclass(frozen=True)
class Standing:
    """A comparison, its variants in order with their speakers' names, and the votes so far."""

    comparison: Comparison
    variants: Sequence[Variant]
    outcome: Outcome


def standing_of(comparison: Comparison) -> Standing:
    """How a comparison stands."""
    return standings_of(comparison.tenant_id, [comparison])[0]


def standings_of(tenant_id: str, comparisons: Sequence[Comparison]) -> list[Standing]:
    """How a tenant's comparisons stand, with as many queries for one as for all."""
    rows = Variant.objects.for_tenant(tenant_id).filter(comparison__in=comparisons)
    variants = defaultdict(list)
    named = rows.select_related("speaker").defer("speaker__voice_data")
    for variant in named.order_by("position"):
        variants[variant.comparison_id].append(variant)
    votes = Vote.objects.for_tenant(tenant_id).filter(comparison__in=comparisons)
    listened = votes.values_list("comparison").annotate(Count("listener", distinct=True))
    listeners = dict(listened.order_by())
    lower_won = Q(choice=Vote.Choice.FIRST, first=F("lower")) | Q(
        choice=Vote.Choice.SECOND, first=F("higher")
    )
    tallies: dict[str, dict[tuple[int, int], _Tally]] = defaultdict(dict)
    for comparison_id, lower, higher, cast, won, same in (
        votes.values_list("comparison", "lower", "higher")
        .annotate(
            cast=Count("pk"),
            won=Count("pk", filter=lower_won),
            same=Count("pk", filter=Q(choice=Vote.Choice.SAME)),
        )
        .order_by()
    ):
        tallies[comparison_id][lower, higher] = _Tally(cast, won + same / 2)
    return [
        Standing(
            one,
            variants[one.pk],
            _outcome(len(variants[one.pk]), tallies[one.pk], listeners.get(one.pk, 0)),
        )
        for one in comparisons
    ]


class _Tally(NamedTuple):
    """The votes on a pair; won: how many preferred the lower position, a tie being half."""

    cast: int = 0
    won: float = 0.0


def _outcome(count: int, tallies: Mapping[tuple[int, int], _Tally], listeners: int) -> Outcome:
    """Of count variants. With more than two each pair's interval is wider, so that one of twenty
    comparisons, and not of pairs, is wrong (Bonferroni).
    """
    pairs = []
    every = list(combinations(range(count), 2))
    for pair in every:
        tally = tallies.get(pair, _Tally())
        found = preference(tally.won, tally.cast, ALPHA / len(every))
        pairs.append(PairResult(*pair, found, verdict(found)))
    shares = [_share(position, tallies) for position in range(count)]
    total = sum(tally.cast for tally in tallies.values())
    leader = max(range(count), key=lambda position: shares[position]) if total else None
    return Outcome(
        total,
        listeners,
        shares,
        pairs,
        leader,
        leader is not None and all(_is_won(result, leader) for result in pairs),
        bool(total) and all(result.verdict == Verdict.NO_DIFFERENCE for result in pairs),
    )


def _share(position: int, tallies: Mapping[tuple[int, int], _Tally]) -> float:
    mine = {pair: tally for pair, tally in tallies.items() if position in pair}
    votes = sum(tally.cast for tally in mine.values())
    won = sum(
        tally.won if pair[0] == position else tally.cast - tally.won for pair, tally in mine.items()
    )
    return won / votes if votes else 0.5


def _is_won(result: PairResult, leader: int) -> bool:
    if leader not in (result.first, result.second):
        return True
    wanted = Verdict.FIRST if result.first == leader else Verdict.SECOND
    return result.verdict == wanted


def close_comparison(comparison: Comparison) -> Comparison:
    """Take no more votes. Closing it again changes nothing."""
    rows = list_comparisons(comparison.tenant).filter(pk=comparison.pk)
    rows.filter(status=Comparison.Status.OPEN).update(
        status=Comparison.Status.CLOSED, closed_at=timezone.now()
    )
    comparison.refresh_from_db()
    return comparison


def choose_winner(comparison: Comparison, position: int, speaker_id: str) -> Speaker:
    """Have a speaker speak like a variant from now on: with its voice, and as fast. Its own is kept.

    Raises validation_error, speaker_not_found or speaker_not_ready.
    """
    tenant = comparison.tenant
    variant = _variants(comparison).filter(position=position).first()
    if variant is None:
        detail = _("There is no such variant.")
        raise Refusal("validation_error", detail, errors=[FieldError("/position", detail)])
    with transaction.atomic():
        present = Speaker.objects.for_tenant(tenant).present()
        speaker: Speaker | None = present.filter(pk=speaker_id).first()
        if speaker is None:
            detail = _("There is no such speaker.")
            raise Refusal("speaker_not_found", detail, errors=[FieldError("/speaker_id", detail)])
        # Its speaker may speak with another voice by now.
        heard = Line.objects.for_tenant(tenant).filter(job=variant.job_id).first()
        voice_id = (heard and heard.voice_id) or variant.speaker_id
        speak_as(speaker, voice_id, "/position")
        speaker.default_speed = variant.speed
        speaker.save(update_fields=["default_speed"])
        list_comparisons(tenant).filter(pk=comparison.pk).update(winner_position=position)
        audit.record(
            tenant.pk,
            "speaker.voice_chosen",
            speaker.pk,
            comparison=comparison.pk,
            variant=variant.label,
        )
    comparison.winner_position = position
    return speaker


def delete_comparison(comparison: Comparison) -> None:
    """Erase a comparison, its votes, and the jobs that it had rendered."""
    with transaction.atomic():
        for job in jobs_of(comparison).values():
            job.tenant = comparison.tenant
            delete_job(job)
        list_comparisons(comparison.tenant).filter(pk=comparison.pk).delete()
        audit.record(comparison.tenant_id, "comparison.deleted", comparison.pk)
