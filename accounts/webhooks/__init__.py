"""Telling customers' systems what happened: endpoints, deliveries, signatures (Standard Webhooks)."""
