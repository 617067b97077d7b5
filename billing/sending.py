"""Finalized invoices on their way to whoever pays."""

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from accounts.mail import send_mail
from billing.documents import invoice_pdf
from billing.models import BillingAccount, Invoice
from billing.money import shown
from billing.quotas import billing_addresses


def pdf_key(invoice: Invoice) -> str:
    """Where an invoice's PDF lies in the storage."""
    return f"t/{invoice.tenant_id}/b/{invoice.pk}.pdf"


def send_invoice(invoice: Invoice) -> None:
    """Keep the PDF as it was sent, and mail it. Once: the PDF that is there says that it was."""
    key = pdf_key(invoice)
    if default_storage.exists(key):
        return
    default_storage.save(key, ContentFile(invoice_pdf(invoice)))
    account = BillingAccount.objects.for_tenant(invoice.tenant_id).get()
    with transaction.atomic():
        send_mail(
            billing_addresses(account),
            "invoice",
            of_tenant=invoice.tenant_id,
            attachments=[(f"{invoice.number}.pdf", key, "application/pdf")],
            number=invoice.number,
            month=invoice.month,
            total=shown(invoice.total_minor, invoice.currency),
            due_at=invoice.due_at,
            is_paid=invoice.status == Invoice.Status.PAID,
            by_card=invoice.pays_by == BillingAccount.PaysBy.CARD,
            bank=invoice.seller.get("bank", ""),
            language=invoice.language,
        )
