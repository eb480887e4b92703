"""Import, export and seeding of whole catalogs, for the command line alone.

It may import store, settings and model; it shares no code with the request path in items. Start
with ``import_items``: source, rows and shard_writers are its three stages.
"""
