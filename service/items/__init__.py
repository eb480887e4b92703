"""The guarantees about items: coherent reads, writes applied once, ordered pages.

It may import access's scopes, cache, store, flow and model; it knows nothing of HTTP. Start with
``reader`` for reads, ``write`` for changes, ``pages`` for lists.
"""
