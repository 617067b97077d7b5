"""Triggers on both databases that keep invoices as they were finalized, whoever would change them.

They hold for every role, operators' and the console's too. Only a tenant's erasure takes rows away.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

# What may still be said of a finalized invoice.
_MUTABLE = (
    *("status", "paid_at", "voided_at", "reminded_at", "reminders"),
    "tax_approval_number",
)
_ERASED = (
    "EXISTS (SELECT 1 FROM {schema}accounts_erasure WHERE tenant_id = OLD.tenant_id "
    "AND speaker_id = '' AND status = 'erasing')"
)
_NO = "finalized invoices are never changed"

_FUNCTION = """
CREATE FUNCTION billing_{name}_frozen() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE of_invoice text;
BEGIN
    IF TG_OP = 'DELETE' AND {erased} THEN
        RETURN OLD;
    END IF;
    {body}
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$
"""
_RAISE = f"RAISE EXCEPTION '{_NO}' USING ERRCODE = 'restrict_violation';"
_BODIES = {
    "invoice": f"""
    IF OLD.status <> 'draft' AND (TG_OP = 'DELETE' OR NEW.status = 'draft' OR
        to_jsonb(OLD) - ARRAY[{", ".join(f"'{name}'" for name in _MUTABLE)}] <>
        to_jsonb(NEW) - ARRAY[{", ".join(f"'{name}'" for name in _MUTABLE)}]) THEN
        {_RAISE}
    END IF;
    """,
    "invoiceline": """
    SELECT status INTO of_invoice FROM public.billing_invoice
    WHERE id = (CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_id ELSE OLD.invoice_id END);
    IF of_invoice <> 'draft' THEN
        RAISE_IT
    END IF;
    """,
}

# Of a statement's rows at once: a line bills thousands of events.
_TIES = """
CREATE FUNCTION billing_ties_frozen() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' OR EXISTS (
        SELECT 1 FROM (SELECT DISTINCT line_id, tenant_id FROM changed) AS tie
        JOIN public.billing_invoiceline AS line ON line.id = tie.line_id
        JOIN public.billing_invoice AS invoice ON invoice.id = line.invoice_id
        WHERE invoice.status <> 'draft' AND NOT (TG_OP = 'DELETE' AND (
            invoice.status = 'void' OR EXISTS (
                SELECT 1 FROM public.accounts_erasure AS erasure
                WHERE erasure.tenant_id = tie.tenant_id AND erasure.speaker_id = ''
                AND erasure.status = 'erasing')))
    ) THEN
        RAISE_IT
    END IF;
    RETURN NULL;
END $$
"""


def _on_postgres() -> tuple[list[str], list[str]]:
    do, undo = [], []
    for name, body in _BODIES.items():
        events = "UPDATE OR DELETE" if name == "invoice" else "INSERT OR UPDATE OR DELETE"
        do += [
            _FUNCTION.format(
                name=name,
                body=body.replace("RAISE_IT", _RAISE),
                erased=_ERASED.format(schema="public."),
            ),
            f"CREATE TRIGGER frozen BEFORE {events} ON billing_{name} "
            f"FOR EACH ROW EXECUTE FUNCTION billing_{name}_frozen()",
        ]
        undo += [
            f"DROP TRIGGER frozen ON billing_{name}",
            f"DROP FUNCTION billing_{name}_frozen()",
        ]
    do.append(_TIES.replace("RAISE_IT", _RAISE))
    for event, rows in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")):
        do.append(
            f"CREATE TRIGGER frozen_{event.lower()} AFTER {event} ON billing_invoicelineevent "
            f"REFERENCING {rows} TABLE AS changed "
            "FOR EACH STATEMENT EXECUTE FUNCTION billing_ties_frozen()"
        )
        undo.append(f"DROP TRIGGER frozen_{event.lower()} ON billing_invoicelineevent")
    undo.append("DROP FUNCTION billing_ties_frozen()")
    return do, undo


def _on_sqlite(columns: list[str]) -> tuple[list[str], list[str]]:
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in columns)
    status = "(SELECT status FROM billing_invoice WHERE id = {row}.invoice_id)"
    of_tie = (
        "(SELECT invoice.status FROM billing_invoice AS invoice JOIN billing_invoiceline AS line "
        "ON line.invoice_id = invoice.id WHERE line.id = {row}.line_id)"
    )
    kept = f"NOT {_ERASED.format(schema='')}"
    rules = {
        "invoice_frozen": (
            "UPDATE ON billing_invoice",
            f"OLD.status <> 'draft' AND (NEW.status = 'draft' OR {changed})",
        ),
        "invoice_kept": ("DELETE ON billing_invoice", f"OLD.status <> 'draft' AND {kept}"),
        "line_added": ("INSERT ON billing_invoiceline", f"{status.format(row='NEW')} <> 'draft'"),
        "line_frozen": ("UPDATE ON billing_invoiceline", f"{status.format(row='OLD')} <> 'draft'"),
        "line_kept": (
            "DELETE ON billing_invoiceline",
            f"{status.format(row='OLD')} <> 'draft' AND {kept}",
        ),
        "tie_added": (
            "INSERT ON billing_invoicelineevent",
            f"{of_tie.format(row='NEW')} <> 'draft'",
        ),
        "tie_frozen": ("UPDATE ON billing_invoicelineevent", "1"),
        "tie_kept": (
            "DELETE ON billing_invoicelineevent",
            f"{of_tie.format(row='OLD')} NOT IN ('draft', 'void') AND {kept}",
        ),
    }
    do = [
        f"CREATE TRIGGER billing_{name} BEFORE {event} WHEN {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{_NO}'); END"
        for name, (event, condition) in rules.items()
    ]
    return do, [f"DROP TRIGGER billing_{name}" for name in rules]


class FreezeInvoices(Operation):
    """Invoices, their lines, and which events those bill."""

    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """No model changes."""

    def _statements(self, vendor: str, state: ProjectState) -> tuple[list[str], list[str]]:
        if vendor == "postgresql":
            return _on_postgres()
        fields = state.apps.get_model("billing", "Invoice")._meta.fields
        return _on_sqlite([field.column for field in fields if field.column not in _MUTABLE])

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        for statement in self._statements(schema_editor.connection.vendor, to_state)[0]:
            schema_editor.execute(statement, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        for statement in self._statements(schema_editor.connection.vendor, from_state)[1]:
            schema_editor.execute(statement, params=None)
