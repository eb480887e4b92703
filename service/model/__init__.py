"""Plain data that all layers share: items, changes, callers, queries and errors. No I/O.

It may import native and the standard library. Start with ``item`` and ``errors``.
"""
