"""Writes to PostgreSQL: items, their idempotency records and cache outbox rows, in transactions.

It may import the rest of store and model. Start with ``change``, the protocol of all changes;
``create`` is POST, which needs no decision and therefore only one statement.
"""
