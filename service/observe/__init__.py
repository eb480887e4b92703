"""Counters, events and trace context for the operators of the service.

It may import the standard library, orjson and, where it is installed, OpenTelemetry. Start with
``metrics``.
"""
