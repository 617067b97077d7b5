from django.db import migrations, models

from accounts.row_security import APP_ROLE, OPERATOR_ROLE, MakeRoles, ProtectRows, Statements

# Whose a key is, before it is known for whom to look: the one door through row-level security, and it
# shows a tenant's id alone. It looks with the operators' eyes; its new owner has to have CREATE for
# the moment in which it is made one.
_TENANT_OF_KEY = [
    """
    CREATE FUNCTION accounts_tenant_of_key(wanted text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT tenant_id::text FROM public.accounts_apikey WHERE public_id = wanted $$
    """,
    "REVOKE ALL ON FUNCTION accounts_tenant_of_key(text) FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION accounts_tenant_of_key(text) TO {APP_ROLE}, {OPERATOR_ROLE}",
    f"GRANT CREATE ON SCHEMA public TO {OPERATOR_ROLE}",
    f"ALTER FUNCTION accounts_tenant_of_key(text) OWNER TO {OPERATOR_ROLE}",
    f"REVOKE CREATE ON SCHEMA public FROM {OPERATOR_ROLE}",
]


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_signed_requests"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxmessage",
            name="tenant_id",
            # Messages of before wait for a sweep to ask again.
            field=models.CharField(db_default="", max_length=40),
        ),
        migrations.AddField(
            model_name="tenant",
            name="region",
            field=models.CharField(choices=[("home", "Home")], db_default="home", default="home", max_length=20),
        ),
        MakeRoles(),
        # A column that may be written, so that the row may be locked; plan and retention are operators'.
        ProtectRows("Tenant", column="id", app="SELECT, UPDATE (name)"),
        ProtectRows("ApiKey"),
        ProtectRows("UsedNonce"),
        ProtectRows("IdempotentReply"),
        ProtectRows("OutboxMessage"),
        Statements(_TENANT_OF_KEY, ["DROP FUNCTION accounts_tenant_of_key(text)"]),
    ]
