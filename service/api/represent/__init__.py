"""The representations of items, pages, batch results and problem documents in v1 and v2.

It may import api.headers, model and native. Start with ``item_reply`` for one item, ``problem`` for
errors; ``v1`` and ``v2`` are the two formats. ``v2_body``, ``v2_patch`` and ``v2_errors`` are the
bodies, patches and errors of version 2.
"""
