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
        "The writer dies after COMMIT and nobody is left who knows that the entry is old.",
    ),
    "mark_after_commit": Rule(
        "core",
        "The mark goes to Redis after COMMIT.",
        "The marker is evicted, a reader fills the old version, then the write commits.",
    ),
    "ack_waits": Rule(
        "lease",
        "A write is acknowledged only after Redis's yes, the relay's, or 310 ms.",
        "The owner's next read meets the old entry under a lease that was won before the write.",
    ),
    "wait_outlasts_lease": Rule(
        "lease",
        "The wait without Redis is longer than the trust lease.",
        "The lease of a poll sent just before the write outlives the wait.",
    ),
    "delete_only_marked": Rule(
        "core",
        "A writer deletes its outbox row only when Redis has said yes to the mark.",
        "An old entry stays and no row announces it.",
    ),
    "replay_marks_first": Rule(
        "lease",
        "An idempotent replay whose outbox row is still there marks before it answers.",
        "The first attempt died unmarked; the replay's yes comes before any mark or wait.",
    ),
    "known_id_is_marked": Rule(
        "absent",
        "Only an id that nobody can have asked for is created without outbox row and mark.",
        'A cached "not there" outlives the creation.',
    ),
    "commit_is_flushed": Rule(
        "core",
        "Item writes never use synchronous_commit=off.",
        "The flush position that readers ask for does not cover the acknowledged write.",
    ),
    "compare_as_numbers": Rule(
        "core",
        "Heads are compared as numbers, not as text in a locale.",
        "The mark takes the older entry for a newer one and leaves it.",
    ),
    "epoch_before_version": Rule(
        "failover",
        "The epoch is compared before the version.",
        "An entry lost in a failover has the higher version, so the mark leaves it.",
    ),
    "fresh_nonce": Rule(
        "core",
        "Every placing, retry and relay pass draws a new nonce.",
        "A late fill takes a second marker or permit for the one it holds.",
    ),
    "mark_keeps_newer": Rule(
        "core",
        "A mark leaves an entry alone that is not older than the write.",
        "A late relay pass throws out the fresh entry. Nothing is stale, but the hit is lost.",
    ),
    "mark_never_lowers": Rule(
        "standby",
        "A mark over a newer marker draws a new nonce and keeps the newer head.",
        "A late mark lowers the head below a lagging standby's row, which then fills.",
    ),
    "mark_publishes": Rule(
        "near", "A mark publishes the id.", "Near caches never hear of the write."
    ),
    "plain_select": Rule(
        "relays",
        "The relay reads the outbox with a plain SELECT.",
        "SKIP LOCKED hides the row that a stalled relay holds, and the lease is renewed over it.",
    ),
    "relay_deletes_only_marked": Rule(
        "core",
        "The relay deletes a row only after its mark succeeded.",
        "The mark is lost with Redis out of reach and the row is gone.",
    ),
    "trust_after_all_marks": Rule(
        "lease",
        "Only a poll whose marks all succeeded renews the lease.",
        "The owner trusts an entry whose mark has just failed.",
    ),
    "lease_from_sending": Rule(
        "lease",
        "The lease counts from when the poll was sent.",
        "A slow poll that saw nothing is answered after the write was acknowledged.",
    ),
    "owner_needs_lease": Rule(
        "lease",
        "An entry answers the owner only under a live trust lease.",
        "The write was acknowledged after 310 ms without a mark.",
    ),
    "lease_read_before_get": Rule(
        "lease",
        "The lease that counts is the one live when the GET was sent.",
        "GET returns the old entry, the relay marks and renews, and the reply is believed.",
    ),
    "marker_sends_to_primary": Rule(
        "core", "Whoever meets a marker reads the primary.", "A lagging replica answers."
    ),
    "permit_before_lsn": Rule(
        "core",
        "The primary's LSN is asked for after the permit was placed.",
        "A write falls between the two; its marker is evicted and the permit hides that.",
    ),
    "lsn_is_proved": Rule(
        "core",
        "A replica answers only when it has replayed to that LSN.",
        "A lagging replica answers and fills.",
    ),
    "lsn_before_rows": Rule(
        "core",
        "The LSN is asked for before the rows are read.",
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
        "A late fill replaces a marker or a newer entry.",
    ),
    "never_into_empty": Rule(
        "core",
        "A fill never enters an empty key.",
        "The newer write's marker was evicted and the late fill finds nothing that forbids it.",
    ),
    "fill_not_below_marker": Rule(
        "standby",
        "A fill over a marker is not below the marker's head.",
        "A former primary, now a lagging standby, is taken for the primary; its row fills.",
    ),
    "source_has_known_epoch": Rule(
        "standby",
        "A row fills only if its node's timeline is the one that the reader knew at its GET.",
        "A failover comes between; a lagging standby's row counts as newer than the marker.",
    ),
    "primary_not_in_recovery": Rule(
        "failover",
        "A primary's row counts only if the same read says that the node is not in recovery.",
        "A former primary, now a lagging standby, fills over a permit or a lowered marker.",
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
        "What is below the epoch that the worker knows, entry or marker, is a miss.",
        "A version that the failover lost is served on and on.",
    ),
    "unproved_never_fills": Rule(
        "primary_away",
        "What is not proved fresh never enters Redis.",
        "With the primary out of reach a lagging replica's item is filled for everybody.",
    ),
    "join_before_sending": Rule(
        "joining",
        "A read joins another's command only before that is written to the socket.",
        "It takes a reply that was given before the write was acknowledged.",
    ),
    "worker_remembers": Rule(
        "memory",
        "A worker remembers versions that databases gave it.",
        "The primary's answer is followed by the entry that the write has not marked yet.",
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
        'Without Redis "not there" is asked of the primary.',
        "A lagging replica denies an item whose creation was acknowledged.",
    ),
    "keys_name_their_run": Rule(
        "restart",
        "The name of a key says of which run of Redis it is.",
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
        "The write is acknowledged while its message is on the way.",
    ),
}

assert [f.name for f in fields(Rules)] == list(RULES)
