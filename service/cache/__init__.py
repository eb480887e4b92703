"""Redis: one pipelined connection, the scripts of the cache protocol, and the near cache.

It may import flow and model; it knows nothing of PostgreSQL. Start with ``entries``, the only
module that touches item keys; docs/cache-protocol.md says why.
"""
