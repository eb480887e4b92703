"""Who a caller is, what it may do, and how often: tokens, API keys, scopes and rate limits.

It may import cache and store for its records, flow and model; it knows nothing of HTTP messages or
items. Start with ``credentials`` for authentication, ``limiter`` for rate limits.
"""
