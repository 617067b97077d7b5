from django.db import migrations

from accounts.row_security import ProtectRows


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_row_level_security"),
        ("speakers", "0001_initial"),
    ]

    operations = [
        ProtectRows("Speaker"),
        ProtectRows("ReferenceClip"),
    ]
