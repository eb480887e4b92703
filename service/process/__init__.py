"""Operating-system processes: ``hotshelf serve``, its Granian child, and their shared memory.

It may import settings and the standard library; it knows nothing of items or HTTP. Start with
``serve``: it is the parent process, which drains, stops and restarts Granian.
"""
