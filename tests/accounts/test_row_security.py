"""What PostgreSQL itself keeps apart, should the code in front of it forget to."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import (
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    connection,
    transaction,
)
from django.utils import timezone

from accounts import audit, tenancy
from accounts.callers import memberships_of
from accounts.impersonation import start_impersonation
from accounts.keys import find_key
from accounts.models import (
    ApiKey,
    AuditEvent,
    Membership,
    Operator,
    OutboxMessage,
    Tenant,
    User,
)
from accounts.row_security import APP_ROLE, OPERATOR_ROLE
from accounts.tenancy import (
    acting_for,
    acting_for_member,
    acting_for_owner_of_key,
    warn_unless_protected,
)
from billing.models import UsageEvent
from speakers.models import Speaker
from synthesis.models import Job
from synthesis.tasks import render_job
from tests.conftest import Api, Browser

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no such thing"),
    pytest.mark.django_db(transaction=True),
]

_LOGINS = {APP_ROLE: "voicereel_test_web", OPERATOR_ROLE: "voicereel_test_operations"}
_PASSWORD = "of-these-tests"


def _connected_as(role: str) -> Iterator[None]:
    """This process's connections, as a login made for the test that is a member of a role."""
    login = _LOGINS[role]
    own = {name: connection.settings_dict[name] for name in ("USER", "PASSWORD")}
    with connection.cursor() as cursor:
        cursor.execute(f"DROP ROLE IF EXISTS {login}")
        cursor.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{_PASSWORD}' IN ROLE {role}")
    connection.close()
    connection.settings_dict |= {"USER": login, "PASSWORD": _PASSWORD}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict |= own
        with connection.cursor() as cursor:
            cursor.execute(f"DROP ROLE {login}")


@pytest.fixture
def as_app(alder: Api, birch: Api, submit: Callable[..., Any]) -> Iterator[None]:
    """A job and a speaker of each tenant, seen as web processes and workers see them."""
    for api in (alder, birch):
        submit(api)
    yield from _connected_as(APP_ROLE)


@pytest.fixture
def as_operator(alder: Api, birch: Api, submit: Callable[..., Any]) -> Iterator[None]:
    for api in (alder, birch):
        submit(api)
    yield from _connected_as(OPERATOR_ROLE)


def asked(query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]


def tables_of_tenants() -> list[str]:
    """Of every model that says whose its rows are; a tenant is its own."""
    models = [m for m in apps.get_models() if {"tenant_id"} & {f.attname for f in m._meta.fields}]
    return sorted(model._meta.db_table for model in [*models, Tenant])


def test_row_security_is_forced_on_every_table_of_tenants() -> None:
    tables = tables_of_tenants()
    assert len(tables) >= 11
    forced = asked(
        "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity "
        "AND relname = ANY(%s) ORDER BY 1",
        tables,
    )
    assert [name for (name,) in forced] == tables


def test_every_policy_checks_what_is_read_and_what_is_written() -> None:
    rows = asked("SELECT tablename, roles::text[], cmd, qual, with_check FROM pg_policies")
    # What a member sees of their memberships before it is known for which tenant they come.
    shown = [row for row in rows if row[2] == "SELECT"]
    # Whoever comes may know the list's prices, which are nobody's.
    prices = [row for row in shown if row[0] == "billing_price"]
    assert [(*roles, using) for _, roles, _, using, _ in prices] == [
        (APP_ROLE, "(tenant_id IS NULL)")
    ]
    shown = [row for row in shown if row not in prices]
    assert {(table, *roles) for table, roles, *_ in shown} == {
        ("accounts_membership", APP_ROLE),
        ("accounts_tenant", APP_ROLE),
    }
    assert all("'voicereel.user_id'" in using for *_, using, _ in shown)
    policies = {(table, role): rest for table, [role], *rest in rows if rest[0] != "SELECT"}
    expected = {(t, role) for t in tables_of_tenants() for role in (APP_ROLE, OPERATOR_ROLE)}
    assert set(policies) == expected
    for (table, role), (command, using, with_check) in policies.items():
        assert command == "ALL"
        if (table, role) == ("accounts_auditevent", APP_ROLE):
            # What operators do in their own name is written, and not read.
            assert with_check == f"({using} OR (tenant_id IS NULL))"
        else:
            assert using == with_check
        if role == OPERATOR_ROLE:
            assert using == "true"
        else:
            column = "id" if table == "accounts_tenant" else "tenant_id"
            assert using.startswith(f"(({column})::text = NULLIF(current_setting('voicereel.")


def test_the_apps_role_has_no_way_around() -> None:
    [rights] = asked(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, "
        "pg_has_role(oid, %s, 'MEMBER'), "
        "EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid) "
        "FROM pg_roles WHERE rolname = %s",
        OPERATOR_ROLE,
        APP_ROLE,
    )
    assert rights == (False,) * 6
    definers = asked(
        "SELECT proname, proowner::regrole::text, proconfig FROM pg_proc "
        "WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )
    # One, whose every name is looked up where only an owner can put one.
    assert definers == [
        ("accounts_tenant_of_key", OPERATOR_ROLE, ["search_path=pg_catalog, pg_temp"])
    ]


@pytest.mark.usefixtures("as_app")
def test_who_acts_for_nobody_sees_and_changes_nothing() -> None:
    for table in tables_of_tenants():
        own = "WHERE tenant_id IS NOT NULL" if table == "billing_price" else ""
        assert asked(f'SELECT count(*) FROM "{table}" {own}') == [(0,)]
    assert not ApiKey._base_manager.exists()
    assert asked("UPDATE synthesis_job SET title = 'ours'") == [(0,)]
    assert asked("DELETE FROM speakers_referenceclip") == [(0,)]


def test_a_tenant_sees_and_changes_its_own_rows_alone(alder: Api, birch: Api, as_app: None) -> None:
    with acting_for(birch.tenant.pk):
        assert {job.tenant_id for job in Job._base_manager.all()} == {birch.tenant.pk}
        assert asked("SELECT id FROM accounts_tenant") == [(birch.tenant.pk,)]
        assert asked("SELECT * FROM synthesis_job WHERE tenant_id = %s", alder.tenant.pk) == []
        assert asked("UPDATE synthesis_job SET title = 'ours'") == [(1,)]
        assert not Job._base_manager.filter(tenant=alder.tenant).update(title="ours")
    with acting_for(alder.tenant.pk):
        assert [job.title for job in Job._base_manager.all()] == [""]


def test_a_row_of_another_tenant_can_be_neither_made_nor_given_away(
    alder: Api, birch: Api, as_app: None
) -> None:
    with acting_for(birch.tenant.pk):
        with pytest.raises(ProgrammingError, match="violates row-level security"):
            Speaker.objects.create(
                tenant=alder.tenant,
                name="Planted",
                language="en",
                reference_ms=1,
                consent_at=timezone.now(),
            )
        with pytest.raises(ProgrammingError, match="violates row-level security"):
            OutboxMessage.objects.create(
                kind="task", tenant_id=alder.tenant.pk, subject="x", due_at=timezone.now()
            )
        with pytest.raises(ProgrammingError, match="violates row-level security"):
            Speaker._base_manager.update(tenant=alder.tenant)
    with acting_for(alder.tenant.pk):
        assert [speaker.name for speaker in Speaker._base_manager.all()] == ["Anna"]


def test_a_connection_that_is_used_again_knows_no_tenant(alder: Api, as_app: None) -> None:
    with acting_for(alder.tenant.pk):
        assert Job._base_manager.count() == 1
        with transaction.atomic():
            assert Job._base_manager.count() == 1
    assert not Job._base_manager.exists()
    with acting_for(alder.tenant.pk), transaction.atomic():
        assert Job._base_manager.count() == 1
        transaction.set_rollback(True)
    assert not Job._base_manager.exists()


def test_a_part_of_a_transaction_that_was_undone_leaves_the_tenant_bound(
    alder: Api, as_app: None
) -> None:
    with acting_for(alder.tenant.pk), transaction.atomic():
        with pytest.raises(ProgrammingError), transaction.atomic():
            asked("SELECT no_such_column")
        assert Job._base_manager.count() == 1


def test_rows_are_streamed_for_their_tenant_inside_a_transaction(
    alder: Api, birch: Api, as_app: None
) -> None:
    with acting_for(alder.tenant.pk):
        with transaction.atomic():
            assert [job.tenant_id for job in Job._base_manager.iterator()] == [alder.tenant.pk]
        with pytest.raises(NotSupportedError, match="inside a transaction"):
            list(Job._base_manager.iterator())


def test_who_acts_for_nobody_streams_what_belongs_to_no_tenant(
    alder: Api, operator: User, as_app: None
) -> None:
    token = tenancy._leading.set(tenancy._FOR_NOBODY)
    try:
        assert [user.email for user in User.objects.iterator()] == [operator.email]
        assert list(Job._base_manager.iterator()) == []
    finally:
        tenancy._leading.reset(token)


def test_a_tenant_cannot_change_its_own_plan(alder: Api, as_app: None) -> None:
    with acting_for(alder.tenant.pk):
        for column in ("plan", "retention_hours", "region"):
            with pytest.raises(ProgrammingError, match="permission denied"):
                asked(f"UPDATE accounts_tenant SET {column} = DEFAULT")
        with transaction.atomic():
            assert Tenant.objects.select_for_update(no_key=True).get().pk == alder.tenant.pk


def test_a_login_that_sees_all_tenants_is_warned_of(
    as_app: None, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_unless_protected()
    assert "database.unprotected" not in capsys.readouterr().err


def test_a_superuser_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    warn_unless_protected()
    assert "database.unprotected" in capsys.readouterr().err


def test_a_key_is_found_before_its_tenant_is_known(alder: Api, birch: Api, as_app: None) -> None:
    assert not ApiKey._base_manager.exists()
    row = find_key(alder.secret)
    assert row is not None
    assert (row.pk, row.tenant.name) == (alder.key.pk, "Alder")
    with acting_for_owner_of_key(birch.key.public_id):
        assert [key.pk for key in ApiKey._base_manager.all()] == [birch.key.pk]
    with acting_for_owner_of_key("00000000"):
        assert not ApiKey._base_manager.exists()
    # The door itself shows no more than whose the key is, and to nobody but the two roles.
    [(acl,)] = asked("SELECT proacl::text FROM pg_proc WHERE proname = 'accounts_tenant_of_key'")
    assert "=X" not in acl.replace(f"{APP_ROLE}=X", "").replace(f"{OPERATOR_ROLE}=X", "")


def test_requests_and_tasks_find_what_they_need(alder: Api, birch: Api, as_app: None) -> None:
    [shown] = alder.get("/v1/jobs").json()["data"]
    assert birch.get(f"/v1/jobs/{shown['id']}").status_code == 404
    render_job(alder.tenant.pk, shown["id"])
    job = alder.get(f"/v1/jobs/{shown['id']}").json()
    assert job["status"] == "succeeded"
    assert alder.request("GET", job["audio"]["url"].split("testserver")[1]).status_code == 200
    assert alder.delete(f"/v1/jobs/{job['id']}").status_code == 204
    [speaker] = alder.get("/v1/speakers").json()["data"]
    assert alder.delete(f"/v1/speakers/{speaker['id']}").status_code == 204
    for path in ("/v1/jobs", "/v1/speakers"):
        assert alder.get(path).json()["data"] == []
        assert len(birch.get(path).json()["data"]) == 1


def test_what_was_measured_cannot_be_changed(alder: Api, as_app: None) -> None:
    with acting_for(alder.tenant.pk):
        UsageEvent.objects.create(
            tenant=alder.tenant,
            meter="audio_ms",
            quantity=1,
            source="job:1",
            occurred_at=timezone.now(),
        )
        for change in (
            "UPDATE billing_usageevent SET quantity = 0",
            "DELETE FROM billing_usageevent",
        ):
            with pytest.raises(ProgrammingError, match="permission denied"):
                asked(change)


def test_a_member_sees_their_own_memberships_alone(
    alder: Api, birch: Api, make_member: Callable[..., Browser], as_app: None
) -> None:
    with acting_for(alder.tenant.pk):
        anna = make_member(alder, email="anna@example.com").user
    with acting_for(birch.tenant.pk):
        Membership.objects.create(tenant=birch.tenant, user=anna, role="viewer")
        ben = make_member(birch, email="ben@example.com").user
    assert not Membership._base_manager.exists()
    assert [row.tenant.name for row in memberships_of(anna.pk)] == ["Alder", "Birch"]
    assert [row.tenant.name for row in memberships_of(ben.pk)] == ["Birch"]
    with acting_for_member(ben.pk):
        assert {row.user_id for row in Membership._base_manager.all()} == {ben.pk}
        assert [tenant.name for tenant in Tenant._base_manager.all()] == ["Birch"]
        assert not Job._base_manager.exists()
        # It is shown to them, and that is all.
        assert not Membership._base_manager.update(role="owner")
        assert not Membership._base_manager.all().delete()[0]


def test_a_web_process_makes_nobody_an_operator_and_begins_no_impersonation(
    alder: Api, make_member: Callable[..., Browser], operator: User, as_app: None
) -> None:
    with acting_for(alder.tenant.pk):
        membership = Membership.objects.get(user=make_member(alder).user)
        for attempt in (
            lambda: Operator.objects.create(user=membership.user),
            lambda: Operator.objects.all().delete(),
            lambda: start_impersonation(
                operator, membership, reason="to have a look", minutes=5, may_write=True
            ),
        ):
            with pytest.raises(ProgrammingError, match="permission denied"):
                attempt()


def test_the_apps_role_neither_changes_nor_deletes_an_audit_row(
    alder: Api, birch: Api, as_app: None
) -> None:
    with acting_for(alder.tenant.pk):
        audit.record(alder.tenant.pk, "key.revoked", "key_1")
        for change in (
            "UPDATE accounts_auditevent SET action = 'nothing'",
            "DELETE FROM accounts_auditevent",
            "TRUNCATE accounts_auditevent",
            "ALTER TABLE accounts_auditevent DISABLE TRIGGER ALL",
            "DROP TRIGGER append_only ON accounts_auditevent",
            "UPDATE accounts_erasure SET status = 'erasing'",
        ):
            with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
                asked(change)
        assert AuditEvent.objects.for_tenant(alder.tenant).get().action == "key.revoked"
        with pytest.raises(ProgrammingError, match="violates row-level security"):
            audit.record(birch.tenant.pk, "key.revoked", "key_1")
    # In nobody's name it may be written, and is not shown.
    audit.record(None, "login.succeeded", "olga@voicereel.example")
    assert not AuditEvent._base_manager.exists()


@pytest.mark.usefixtures("as_operator")
def test_nor_does_the_operators(alder: Api) -> None:
    audit.record(alder.tenant.pk, "key.revoked", "key_1")
    for change in (
        "UPDATE accounts_auditevent SET action = 'nothing'",
        "DELETE FROM accounts_auditevent",
    ):
        with pytest.raises(IntegrityError, match="never changed"):
            asked(change)


@pytest.mark.usefixtures("as_operator")
def test_no_table_of_ones_own_passes_for_an_erasure(alder: Api) -> None:
    audit.record(alder.tenant.pk, "key.revoked", "key_1")
    asked("CREATE TEMP TABLE accounts_erasure (tenant_id text, speaker_id text, status text)")
    asked(f"INSERT INTO pg_temp.accounts_erasure VALUES ('{alder.tenant.pk}', '', 'erasing')")
    with pytest.raises(IntegrityError, match="never changed"):
        asked("DELETE FROM accounts_auditevent")


@pytest.mark.usefixtures("as_operator")
def test_operators_see_all_tenants() -> None:
    assert Job._base_manager.count() == 2
    assert Tenant.objects.count() == 2


def test_the_operations_queue_takes_what_looks_at_all_tenants() -> None:
    from django.conf import settings

    routes = settings.CELERY["task_routes"]
    scheduled = {entry["task"] for entry in settings.CELERY["beat_schedule"].values()}
    # Scratch files lie on the machine of whoever left them.
    assert {task for task in scheduled if routes.get(task, {}).get("queue") != "operations"} == {
        "accounts.sweep_scratch"
    }
