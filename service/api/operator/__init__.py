"""Endpoints for operators: probes, metrics and status.

It may import everything it reports on, down to store and cache. Start with ``health``.
"""
