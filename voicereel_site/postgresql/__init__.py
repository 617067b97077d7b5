"""Django's PostgreSQL, with fewer indexes and a cheaper look at whether a connection is still there."""
