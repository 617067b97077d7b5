"""Migration operations for PostgreSQL's roles and row-level security. On SQLite they do nothing.

Two roles that nobody logs in as; logins are made members of one (docker/postgres/roles.sql):

- ``voicereel_app``, of web processes and workers: of a tenant's table it sees and writes the rows of
  the tenant it acts for (accounts.tenancy), and without one none.
- ``voicereel_operator``, of the relay, beat's sweeps and operators' commands: all rows. Who migrates is
  made a member, so that a migration can change rows.

Security is forced, so the owner of a table is no exception.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from accounts.tenancy import SETTING, USER_SETTING

APP_ROLE, OPERATOR_ROLE = "voicereel_app", "voicereel_operator"
_ALL = "SELECT, INSERT, UPDATE, DELETE"

_MAKE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- made meanwhile by another database's migration: roles belong to the whole cluster
END $$
"""
# From PostgreSQL 16 on, who makes a role is a member of it that inherits nothing: not enough.
_JOIN_OPERATORS = f"""
DO $$ BEGIN
    IF NOT pg_has_role(current_user, '{OPERATOR_ROLE}', 'USAGE') THEN
        EXECUTE format('GRANT {OPERATOR_ROLE} TO %I', current_user);
    END IF;
END $$
"""


class OnPostgres(Operation):
    """Statements for PostgreSQL alone."""

    reversible = True

    def forwards(self, table: str) -> list[str]:
        raise NotImplementedError

    def backwards(self, table: str) -> list[str]:
        raise NotImplementedError

    def table(self, app_label: str, state: ProjectState) -> str:
        return ""

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """No model changes."""

    def _run(self, schema_editor: BaseDatabaseSchemaEditor, statements: list[str]) -> None:
        if schema_editor.connection.vendor == "postgresql":
            for statement in statements:
                schema_editor.execute(statement, params=None)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._run(schema_editor, self.forwards(self.table(app_label, to_state)))

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._run(schema_editor, self.backwards(self.table(app_label, from_state)))


class MakeRoles(OnPostgres):
    """Both roles. They stay when it is undone: another database may use them."""

    def forwards(self, table: str) -> list[str]:
        roles = [_MAKE_ROLE.format(role=role) for role in (APP_ROLE, OPERATOR_ROLE)]
        usage = f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}, {OPERATOR_ROLE}"
        return [*roles, _JOIN_OPERATORS, usage]

    def backwards(self, table: str) -> list[str]:
        return []


class Statements(OnPostgres):
    """As they are given."""

    def __init__(self, do: list[str], undo: list[str]) -> None:
        self.do, self.undo = do, undo

    def forwards(self, table: str) -> list[str]:
        return self.do

    def backwards(self, table: str) -> list[str]:
        return self.undo


class GrantTable(OnPostgres):
    """A table that belongs to no tenant. app: what the app's role may do with it, "" is nothing; of:
    whose model it is, if not the migration's.
    """

    def __init__(self, model_name: str, *, app: str = _ALL, of: str = "") -> None:
        self.model_name, self.app, self.of = model_name, app, of

    def table(self, app_label: str, state: ProjectState) -> str:
        return str(state.apps.get_model(self.of or app_label, self.model_name)._meta.db_table)

    def forwards(self, table: str) -> list[str]:
        grants = [f'GRANT {self.app} ON "{table}" TO {APP_ROLE}'] if self.app else []
        return [*grants, f'GRANT {_ALL} ON "{table}" TO {OPERATOR_ROLE}']

    def backwards(self, table: str) -> list[str]:
        return [f'REVOKE ALL ON "{table}" FROM {APP_ROLE}, {OPERATOR_ROLE}']


class ShowToMembers(OnPostgres):
    """A protected table whose rows a person may also read who is a member of their tenant."""

    def __init__(self, model_name: str, condition: str) -> None:
        self.model_name, self.condition = model_name, condition

    def table(self, app_label: str, state: ProjectState) -> str:
        return str(state.apps.get_model(app_label, self.model_name)._meta.db_table)

    def forwards(self, table: str) -> list[str]:
        condition = self.condition.format(
            user=f"nullif(current_setting('{USER_SETTING}', true), '')"
        )
        return [
            f'CREATE POLICY member_reads ON "{table}" FOR SELECT TO {APP_ROLE} USING ({condition})'
        ]

    def backwards(self, table: str) -> list[str]:
        return [f'DROP POLICY member_reads ON "{table}"']


class AppendOnly(Operation):
    """A table whose rows are never changed, and deleted only as their tenant's erasure goes on.

    Triggers, on both databases: they hold for every role, operators' too. SQLite drops them when a later
    migration changes the table; that one has to make them again.
    """

    reversible = True

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """No model changes."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        for statement in _APPEND_ONLY[schema_editor.connection.vendor]:
            schema_editor.execute(statement.format(table=table), params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        for statement in _NOT_APPEND_ONLY[schema_editor.connection.vendor]:
            schema_editor.execute(statement.format(table=table), params=None)


_BEING_ERASED = (
    "EXISTS (SELECT 1 FROM {}accounts_erasure WHERE tenant_id = OLD.tenant_id AND speaker_id = '' "
    "AND status = 'erasing')"
)
_APPEND_ONLY = {
    "postgresql": [
        f"""
        -- Names are looked up where only an owner can put one: a temporary table could lie.
        CREATE FUNCTION {{table}}_append_only() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND {_BEING_ERASED.format("public.")} THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION 'rows of {{table}} are never changed' USING ERRCODE = 'restrict_violation';
        END $$
        """,
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION {table}_append_only()",
    ],
    "sqlite": [
        "CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END",
        # INSERT OR REPLACE deletes without asking the trigger below.
        "CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
        "WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id OR rowid = NEW.rowid) "
        "BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END",
        f"CREATE TRIGGER {{table}}_no_delete BEFORE DELETE ON {{table}} WHEN NOT {_BEING_ERASED.format('')} "
        "BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END",
    ],
}
_NOT_APPEND_ONLY = {
    "postgresql": [
        "DROP TRIGGER append_only ON {table}",
        "DROP FUNCTION {table}_append_only()",
    ],
    "sqlite": [
        "DROP TRIGGER {table}_no_update",
        "DROP TRIGGER {table}_no_replace",
        "DROP TRIGGER {table}_no_delete",
    ],
}


class ProtectRows(GrantTable):
    """A table whose rows are a tenant's each: ``column`` says whose.

    may_write_for_nobody: rows without a tenant may be written, and not be read, by the app's role.
    """

    def __init__(
        self,
        model_name: str,
        *,
        column: str = "tenant_id",
        app: str = _ALL,
        may_write_for_nobody: bool = False,
    ) -> None:
        super().__init__(model_name, app=app)
        self.column = column
        self.may_write_for_nobody = may_write_for_nobody

    def forwards(self, table: str) -> list[str]:
        own = f"\"{self.column}\" = nullif(current_setting('{SETTING}', true), '')"
        written = f'{own} OR "{self.column}" IS NULL' if self.may_write_for_nobody else own
        return [
            *super().forwards(table),
            f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
            f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY',
            f'CREATE POLICY own_rows ON "{table}" TO {APP_ROLE} USING ({own}) WITH CHECK ({written})',
            f'CREATE POLICY all_rows ON "{table}" TO {OPERATOR_ROLE} USING (true) WITH CHECK (true)',
        ]

    def backwards(self, table: str) -> list[str]:
        return [
            f'DROP POLICY own_rows ON "{table}"',
            f'DROP POLICY all_rows ON "{table}"',
            f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY',
            f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY',
            *super().backwards(table),
        ]
