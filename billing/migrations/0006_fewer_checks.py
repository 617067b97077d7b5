"""A tie's tenant is that of its event and its line, which are looked up: a third look costs as much."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


class AlterFieldOnPostgres(migrations.AlterField):
    """SQLite would make the table anew, without its triggers (billing.immutability), to save nothing."""

    def database_forwards(
        self, app_label: str, editor: BaseDatabaseSchemaEditor, *states: Any
    ) -> None:
        if editor.connection.vendor == "postgresql":
            super().database_forwards(app_label, editor, *states)

    def database_backwards(
        self, app_label: str, editor: BaseDatabaseSchemaEditor, *states: Any
    ) -> None:
        if editor.connection.vendor == "postgresql":
            super().database_backwards(app_label, editor, *states)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0012_fewer_indexes"),
        ("billing", "0005_list_prices"),
    ]
    operations = [
        AlterFieldOnPostgres(
            model_name="invoicelineevent",
            name="tenant",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="accounts.tenant",
            ),
        ),
    ]
