"""The cache's degradations at this moment, in words for /readyz."""

from typing import Any

from service.cache.near import NearCache
from service.cache.pipeline import RedisPipeline
from service.flow.breaker import State


def _of_pipeline(name: str, pipeline: RedisPipeline) -> list[str]:
    """Empty while that Redis takes commands."""
    found = []
    if not pipeline.available:
        state = pipeline.breaker.state
        what = "no connection" if state is State.CLOSED else f"breaker {state}"
        found.append(f"{name}: {what}")
    if pipeline.refusal:
        found.append(f"{name}: refused ({pipeline.refusal})")
    return found


def degradations(
    cache: RedisPipeline | None, near: NearCache[Any], limits: RedisPipeline | None
) -> list[str]:
    """Empty while each Redis that there is takes commands, and the cache's messages arrive.

    Without messages the near cache is off, and every read asks Redis.
    """
    found = []
    if cache is not None:
        found += _of_pipeline("redis", cache)
        if near.wanted and not near.on:
            found.append("redis: no messages, near cache off")
    if limits is not None and limits is not cache:
        found += _of_pipeline("redis of limits", limits)
    return found
