from django.apps import AppConfig
from django.db.backends.signals import connection_created


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts.tenancy import carry_tenant

        connection_created.connect(carry_tenant, dispatch_uid="carry_tenant")
