"""What is wrong with the cache at this moment, in words for /readyz."""

from typing import Any

from service.cache.near import NearCache
from service.cache.pipeline import RedisPipeline
from service.flow.breaker import State


def troubles(pipeline: RedisPipeline, near: NearCache[Any]) -> list[str]:
    """Empty while Redis takes commands and its messages arrive.

    Without messages the near cache is off, and every read asks Redis.
    """
    found = []
    if not pipeline.available:
        state = pipeline.breaker.state
        what = "no connection" if state is State.CLOSED else f"breaker {state}"
        found.append(f"redis: {what}")
    if pipeline.refusal:
        found.append(f"redis: refused ({pipeline.refusal})")
    if near.wanted and not near.on:
        found.append("redis: no messages, near cache off")
    return found
