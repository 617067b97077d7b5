"""The prices that there are to begin with."""

from django.db import migrations

from billing.list_prices import make_list_prices


def _make_prices(apps, schema_editor):
    make_list_prices(apps.get_model("billing", "Price"))


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_money_rules")]

    operations = [migrations.RunPython(_make_prices, migrations.RunPython.noop)]
