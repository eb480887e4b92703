"""The rules of the cache protocol in words, and where the model sees each one missed."""

from dataclasses import fields
from typing import NamedTuple

from tests.model.switches import Rules


class Rule(NamedTuple):
    """`scope` names the smallest scope of `scopes.SCOPES` in which leaving it out shows."""

    scope: str
    text: str
    without: str


RULES: dict[str, Rule] = {
    "outbox_in_transaction": Rule(
        "core",
        "The transaction that changes a row also writes its outbox row.",
        "The writer dies after COMMIT, and nothing records that the entry is old.",
    ),
    "invalidate_after_commit": Rule(
        "core",
        "The invalidation goes to Redis after COMMIT.",
        "The invalidation is evicted, a reader fills the old version, then the write commits.",
    ),
    "ack_waits": Rule(
        "lease",
        "A write is acknowledged only when it is invalidated or relayed, or after 310 ms.",
        "The owner's next read finds the old entry under a read lease from before the write.",
    ),
    "wait_outlasts_lease": Rule(
        "lease",
        "The wait without Redis is longer than a read lease.",
        "The lease of a poll sent just before the write outlives the wait.",
    ),
    "delete_only_invalidated": Rule(
        "core",
        "A writer deletes its outbox row only when Redis has confirmed the invalidation.",
        "An old entry stays and no row announces it.",
    ),
    "replay_invalidates_first": Rule(
        "lease",
        "An idempotent replay whose outbox row is still there invalidates before it answers.",
        "The first attempt died before it invalidated; the replay acknowledges at once.",
    ),
    "known_id_is_invalidated": Rule(
        "absent",
        "Only an id that cannot have been read is created without outbox row and invalidation.",
        'A cached "not there" outlives the creation.',
    ),
    "commit_is_flushed": Rule(
        "core",
        "Item writes never use synchronous_commit=off.",
        "The flush position that readers query does not cover the acknowledged write.",
    ),
    "compare_as_numbers": Rule(
        "core",
        "Version stamps are compared as numbers, not as text in a locale.",
        "The invalidation takes the older entry for a newer one and leaves it.",
    ),
    "epoch_before_version": Rule(
        "failover",
        "The epoch is compared before the version.",
        "An entry lost in a failover has the higher version, so the invalidation leaves it.",
    ),
    "fresh_nonce": Rule(
        "core",
        "Every lease, retry and relay pass draws a new nonce.",
        "A late fill takes a second invalidation or fill lease for the one it holds.",
    ),
    "invalidation_keeps_newer": Rule(
        "core",
        "An invalidation leaves an entry that is not older than the write.",
        "A late relay pass removes the fresh entry. Nothing is stale, but the hit is lost.",
    ),
    "invalidation_never_lowers": Rule(
        "standby",
        "An invalidation over a newer one draws a new nonce and keeps the newer stamp.",
        "A late invalidation lowers the stamp below a lagging standby's row, which then fills.",
    ),
    "invalidation_publishes": Rule(
        "near", "An invalidation publishes the id.", "Near caches are never notified of the write."
    ),
    "plain_select": Rule(
        "relays",
        "The relay reads the outbox with a plain SELECT.",
        "SKIP LOCKED hides the row that a stalled relay holds, and the lease is renewed over it.",
    ),
    "relay_deletes_only_invalidated": Rule(
        "core",
        "The relay deletes a row only after its invalidation succeeded.",
        "The invalidation is lost with Redis out of reach and the row is gone.",
    ),
    "lease_after_all_invalidations": Rule(
        "lease",
        "Only a poll whose invalidations all succeeded renews the read lease.",
        "The owner is given an entry whose invalidation has just failed.",
    ),
    "lease_from_sending": Rule(
        "lease",
        "A read lease counts from when the poll was sent.",
        "A slow poll that saw nothing is answered after the write was acknowledged.",
    ),
    "owner_needs_lease": Rule(
        "lease",
        "An entry answers the owner only under a live read lease.",
        "The write was acknowledged after 310 ms without an invalidation.",
    ),
    "lease_read_before_get": Rule(
        "lease",
        "The read lease that counts is the one live when the GET was sent.",
        "GET returns the old entry, the relay invalidates and renews, and the reply is trusted.",
    ),
    "invalidation_sends_to_primary": Rule(
        "core",
        "A reader that finds an invalidation reads the primary.",
        "A lagging replica answers.",
    ),
    "fill_lease_before_lsn": Rule(
        "core",
        "The primary's LSN is read after the fill lease was acquired.",
        "A write falls between the two; its invalidation is evicted and the fill lease hides that.",
    ),
    "lsn_is_proved": Rule(
        "core",
        "A replica answers only when it has replayed to that LSN.",
        "A lagging replica answers and fills.",
    ),
    "lsn_before_rows": Rule(
        "core",
        "The LSN is read before the rows are.",
        "The position proves what the replica has now, not what it had when the row was read.",
    ),
    "position_before_snapshot": Rule(
        "core",
        "Position and rows are two statements, each with its own snapshot.",
        "In one statement (or under REPEATABLE READ) the snapshot is older than the position.",
    ),
    "same_timeline": Rule(
        "failover",
        "The replica must be on the primary's timeline.",
        "A replica left behind by a failover has the position, with other records up to it.",
    ),
    "fill_over_same_bytes": Rule(
        "core",
        "A fill is compare-and-set on the exact bytes held.",
        "A late fill replaces an invalidation or a newer entry.",
    ),
    "never_into_empty": Rule(
        "core",
        "A fill never enters an empty key.",
        "The newer write's invalidation was evicted and nothing forbids the late fill.",
    ),
    "fill_not_below_invalidation": Rule(
        "standby",
        "A fill over an invalidation is not below its version stamp.",
        "A former primary, now a lagging standby, is taken for the primary; its row fills.",
    ),
    "source_has_known_epoch": Rule(
        "standby",
        "A row fills only if its node's timeline is the one that the reader knew at its GET.",
        "A failover comes between; a lagging standby's row counts as newer than the invalidation.",
    ),
    "primary_not_in_recovery": Rule(
        "failover",
        "A primary's row counts only if the same read says that the node is not in recovery.",
        "A former primary, now a lagging standby, fills over a fill lease or a lowered stamp.",
    ),
    "highest_timeline_counts": Rule(
        "former",
        "Of several nodes that take writes the one on the highest timeline is the primary.",
        "A former primary that came back is first in the settings; it takes a write that is lost.",
    ),
    "timeline_is_remembered": Rule(
        "former",
        "A shard's highest timeline outlives the worker; a node below it is no primary.",
        "A worker that starts while only the former primary is there takes it for the primary.",
    ),
    "old_epoch_is_miss": Rule(
        "failover",
        "An entry or invalidation below the epoch that the worker knows is a miss.",
        "A version that the failover lost is served on and on.",
    ),
    "unproved_never_fills": Rule(
        "primary_away",
        "What is not proved fresh never enters Redis.",
        "With the primary out of reach a lagging replica's item is filled for all readers.",
    ),
    "join_before_sending": Rule(
        "joining",
        "A read joins another's command only before that is written to the socket.",
        "It takes a reply that was given before the write was acknowledged.",
    ),
    "worker_remembers": Rule(
        "memory",
        "A worker remembers versions that databases gave it.",
        "The primary's answer is followed by the entry that the write has not invalidated yet.",
    ),
    "absent_needs_ownership": Rule(
        "moving",
        'No row means "not there" only if the same snapshot says that the shard owns the bucket.',
        "The shard that a bucket left says that its items do not exist.",
    ),
    "owner_to_primary_without_redis": Rule(
        "redis_away_owner",
        "Without Redis the owner reads the primary.",
        "A lagging replica answers the owner.",
    ),
    "absent_to_primary_without_redis": Rule(
        "redis_away",
        'Without Redis only the primary decides "not there".',
        "A lagging replica denies an item whose creation was acknowledged.",
    ),
    "keys_name_their_run": Rule(
        "restart",
        "The name of a key contains the run id of Redis.",
        "An old dump brings old entries back.",
    ),
    "message_forbids_store": Rule(
        "near",
        "A message for the id forbids the near store of a GET in flight.",
        "The message finds nothing to remove, then the old reply is stored.",
    ),
    "lost_subscription_forbids_store": Rule(
        "near",
        "A lost or re-made subscription forbids the near store of a GET in flight.",
        "The message was missed, then the old reply is stored under the new subscription.",
    ),
    "lost_subscription_empties": Rule(
        "near",
        "A lost subscription empties the near cache and turns it off.",
        "The old entry stays; its message will never come.",
    ),
    "near_only_from_get": Rule(
        "near",
        "The near cache is filled only by live entries that a GET returned.",
        "An answer of the database is stored after the message that should have removed it.",
    ),
    "near_not_below_memory": Rule(
        "near_memory",
        "A near entry below what the worker remembers is not used.",
        "The owner is given the write by the primary, the next reader the old near entry.",
    ),
    "owner_never_reads_near": Rule(
        "near_owner",
        "The owner never reads the near cache.",
        "The write is acknowledged while its message is in flight.",
    ),
}

assert [f.name for f in fields(Rules)] == list(RULES)
