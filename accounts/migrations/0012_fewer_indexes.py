"""Takes away the second index of each text column, for LIKE 'abc%', which is made no more
(voicereel_site.postgresql).
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

_FOUND = """
SELECT indexrelid::regclass::text FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_opclass ON pg_opclass.oid = indclass[0]
WHERE relnamespace = 'public'::regnamespace AND relname LIKE '%\\_like'
AND opcname IN ('varchar_pattern_ops', 'text_pattern_ops')
"""


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor != "postgresql":
        return
    with editor.connection.cursor() as cursor:
        cursor.execute(_FOUND)
        found = [name for (name,) in cursor.fetchall()]
    for name in found:
        editor.execute(f"DROP INDEX {name}")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_money"),
        ("billing", "0005_list_prices"),
        ("speakers", "0003_language_with_region"),
        ("synthesis", "0010_money"),
    ]
    operations = [migrations.RunPython(drop, migrations.RunPython.noop)]
