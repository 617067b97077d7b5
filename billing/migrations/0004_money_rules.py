"""Whose rows are whose, and what is never changed."""

from django.db import migrations

from accounts.row_security import APP_ROLE, AppendOnly, GrantTable, ProtectRows, Statements
from billing.immutability import FreezeInvoices


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_money"),
        ("billing", "0003_money"),
    ]

    operations = [
        AppendOnly("UsageEvent"),
        AppendOnly("Price"),
        AppendOnly("CreditNote"),
        AppendOnly("Payment"),
        FreezeInvoices(),
        ProtectRows("Price", app="SELECT"),
        Statements(
            [
                f"CREATE POLICY list_prices ON billing_price FOR SELECT TO {APP_ROLE} "
                "USING (tenant_id IS NULL)"
            ],
            ["DROP POLICY list_prices ON billing_price"],
        ),
        ProtectRows("UsageRollup"),
        ProtectRows("RollupMark"),
        ProtectRows("PlanChange", app="SELECT, INSERT"),
        ProtectRows("BillingAccount", app="SELECT, INSERT, UPDATE"),
        ProtectRows("Credit", app="SELECT"),
        ProtectRows("Invoice", app="SELECT"),
        ProtectRows("InvoiceLine", app="SELECT"),
        ProtectRows("InvoiceLineEvent", app="SELECT"),
        ProtectRows("CreditNote", app="SELECT"),
        ProtectRows("Payment", app="SELECT"),
        ProtectRows("StripeMirror", app="SELECT"),
        GrantTable("InvoiceSeries", app=""),
        GrantTable("UnmatchedDeposit", app=""),
        GrantTable("StripeEvent", app="SELECT, INSERT"),
    ]
