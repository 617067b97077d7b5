from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"
    default = True

    def ready(self) -> None:
        from accounts.people.recording import listen
        from accounts.tenancy import carry_tenant
        from voicereel_site.regions import mark_database

        listen()
        post_migrate.connect(mark_database, sender=self, dispatch_uid="mark_database")
        connection_created.connect(carry_tenant, dispatch_uid="carry_tenant")


class ConsoleConfig(admin.SimpleAdminConfig):
    """Django's admin, as the operators' console. What is in it is found by voicereel_site.urls, where it is
    served: other processes would spend a second on it.
    """

    default = False
    default_site = "accounts.console.Console"
