"""Writes to PostgreSQL: items, their idempotency records and cache outbox rows, in transactions.

It may import the rest of store and model. Start with ``change``, the protocol that all ways share;
``create``, ``change_one``, ``change_group`` and ``change_atomic`` are the ways.
"""
