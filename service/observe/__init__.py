"""Counters, events and trace context, for whoever operates the service.

It may import the standard library and prometheus_client. Start with ``metrics``.
"""
