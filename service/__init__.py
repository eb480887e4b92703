"""Hotshelf: a REST resource service with a coherent cache and writes that survive retries.

The packages are layers: imports run only downwards (.importlinter), from cli and app down to model.
Start with ``app``, which builds everything, or docs/architecture.md.
"""
