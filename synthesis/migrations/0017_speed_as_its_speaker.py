"""In drafts, a speed of 1 meant that nobody said one."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def unsay(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    drafts = apps.get_model("synthesis", "Draft").objects
    for draft in drafts.only("lines").iterator(chunk_size=100):
        if any(line.get("speed") == 1.0 for line in draft.lines):
            for line in draft.lines:
                if line.get("speed") == 1.0:
                    line["speed"] = None
            drafts.filter(pk=draft.pk).update(lines=draft.lines)


class Migration(migrations.Migration):
    dependencies = [
        ("synthesis", "0016_jobs_that_stopped"),
    ]

    operations = [
        migrations.RunPython(unsay, migrations.RunPython.noop),
    ]
