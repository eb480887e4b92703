"""What a request means: one module for each kind of request, from its fields to its reply.

It may import items, access and everything below, but nothing of Granian or Robyn. Start with
``routes``, the table of all requests; ``get_item`` is the hot path.
"""
