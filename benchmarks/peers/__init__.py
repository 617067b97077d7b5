"""Two other ways to serve the API's hot routes, which ours is measured beside.

Both do the same work on the same tables and buckets, for the requests that the benchmark sends: they
know no other fields, no scopes and no idempotency keys.
"""
