"""How work waits, fails and is grouped: deadlines, retries, circuit breakers, batches per tick.

It may import model's errors and the standard library; it knows nothing of items. Start with
``breaker``, or ``tick_batch`` for how requests of one event-loop tick share a round trip.
"""
