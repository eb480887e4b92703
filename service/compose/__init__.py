"""Parts of the composition root that are stories of their own.

It may import everything but app and cli, and only app imports it. Start with ``app``, which says
what a worker is built of, in order.
"""
