"""Larger parts of the composition root.

It may import everything but app and cli, and only app imports it. Start with ``app``, which builds
a worker in order.
"""
