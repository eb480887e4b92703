"""Development PostgreSQL and Redis: shards, streaming replicas and a cache in one directory.

For development and tests; in production the settings name the servers. It may import settings,
process and model. Start with ``stack``, which starts and stops all of them.
"""

from service.embedded.processes import StackError
from service.embedded.stack import EmbeddedStack
from service.embedded.state import Stack, find_stack

__all__ = ["EmbeddedStack", "Stack", "StackError", "find_stack"]
