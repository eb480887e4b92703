"""PostgreSQL: shards, their nodes, and every statement that reads or writes them.

It may import flow and model; it knows nothing of Redis or HTTP, and translates all errors of the
driver. Start with ``shards`` for the shard of an id, then ``reads``, ``lists`` or ``write``.
"""
