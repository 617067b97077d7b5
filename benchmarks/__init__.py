"""Figures that we promise, and how they were made."""
