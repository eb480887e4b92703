"""PostgreSQL: shards, their nodes, and every statement that reads or writes them.

It may import flow and model; it knows nothing of Redis or HTTP, and errors of the driver do not
leave it. Start with ``shards`` for where an id lives, ``reads``, ``lists`` or ``write`` for what
is done there.
"""
