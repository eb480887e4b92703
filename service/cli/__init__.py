"""The ``hotshelf`` command: one module for each group of subcommands.

It may import everything. Start with ``main``, which builds the parser.
"""
