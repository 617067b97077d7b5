from django.db import migrations

from accounts.row_security import GrantTable


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_people"),
        ("account", "0009_emailaddress_unique_primary_email"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("mfa", "0003_authenticator_type_uniq"),
        ("sessions", "0001_initial"),
        ("usersessions", "0001_initial"),
    ]

    operations = [
        GrantTable("EmailAddress", of="account"),
        GrantTable("EmailConfirmation", of="account"),
        GrantTable("Authenticator", of="mfa"),
        GrantTable("UserSession", of="usersessions"),
        GrantTable("Session", of="sessions"),
        GrantTable("ContentType", app="SELECT", of="contenttypes"),
        GrantTable("LogEntry", app="", of="admin"),
    ]
