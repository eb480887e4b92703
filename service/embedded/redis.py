"""The stack's Redis: a cache without persistence."""

import subprocess

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.embedded.binaries import redis_server
from service.embedded.processes import LOOPBACK, Instance, Server, make_directory, spawn

CONFIGURATION = """\
proc-title-template "{{title}} {{listen-addr}} {mark}"
bind {host}
port {port}
unixsocket redis.sock
unixsocketperm 700
requirepass {password}
maxmemory 256mb
maxmemory-policy allkeys-lru
save ""
appendonly no
"""


class RedisServer(Server):
    """Redis on loopback TCP and on ``redis.sock`` in its directory, with a password."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self.program = redis_server(instance.account)

    @property
    def url(self) -> str:
        """The URL; it contains the password, so never print it."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        make_directory(self.directory, self.account)
        # Through a pipe, because the directory may not be accessible and command lines are public.
        self.process = spawn(
            [str(self.program), "-"],
            directory=self.directory,
            account=self.account,
            log=self.log,
            stdin=subprocess.PIPE,
        )
        configuration = CONFIGURATION.format(
            host=LOOPBACK, port=self.port, password=self._password, mark=self.mark
        )
        assert self.process.stdin is not None
        with self.process.stdin as pipe:
            pipe.write(configuration.encode())

    def is_ready(self) -> bool:
        """Whether it answers a PING on its port."""
        once = Retry(NoBackoff(), 0)
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, retry=once) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
