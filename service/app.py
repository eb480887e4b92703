"""The composition root: the only file that builds things and ties them together.

Granian loads ``service.app:application`` in every worker; everything that holds a connection
is opened on that worker's own event loop and closed on it.
"""
