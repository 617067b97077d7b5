from django.db import migrations, models

from accounts.row_security import GrantTable, ProtectRows


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_row_level_security"),
        ("synthesis", "0005_test_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(
                        default=1, primary_key=True, serialize=False
                    ),
                ),
                ("holder", models.CharField(blank=True, max_length=60)),
                ("until", models.DateTimeField()),
            ],
        ),
        GrantTable("Quarantine", app="SELECT, INSERT, UPDATE"),
        ProtectRows("Job"),
        ProtectRows("Line"),
        ProtectRows("Pronunciation"),
    ]
