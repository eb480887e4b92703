"""The semantics of requests: one module for each kind of request, from its fields to its reply.

It may import items, access and everything below, but neither Granian nor Robyn. Start with
``routes``, the table of all requests; ``get_item`` is the hot path.
"""
