"""The ``hotshelf`` command: one module a group of subcommands."""
