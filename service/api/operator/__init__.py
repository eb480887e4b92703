"""Endpoints for those who run the service: probes and metrics.

It may import whatever it reports on, down to store and cache. Start with ``health``.
"""
