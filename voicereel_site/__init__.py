"""The wiring. Importing it makes the Celery application the one that tasks belong to."""

from voicereel_site.celery import app as celery_app

__all__ = ["celery_app"]
