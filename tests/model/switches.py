"""Each rule of the cache protocol as a switch."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Rules:
    """All on by default; the names are those of `rules.RULES`."""

    outbox_in_transaction: bool = True
    invalidate_after_commit: bool = True
    ack_waits: bool = True
    wait_outlasts_lease: bool = True
    delete_only_invalidated: bool = True
    replay_invalidates_first: bool = True
    known_id_is_invalidated: bool = True
    commit_is_flushed: bool = True
    compare_as_numbers: bool = True
    epoch_before_version: bool = True
    fresh_nonce: bool = True
    invalidation_keeps_newer: bool = True
    invalidation_never_lowers: bool = True
    invalidation_publishes: bool = True
    plain_select: bool = True
    relay_deletes_only_invalidated: bool = True
    lease_after_all_invalidations: bool = True
    lease_from_sending: bool = True
    owner_needs_lease: bool = True
    lease_read_before_get: bool = True
    invalidation_sends_to_primary: bool = True
    fill_lease_before_lsn: bool = True
    lsn_is_proved: bool = True
    lsn_before_rows: bool = True
    position_before_snapshot: bool = True
    same_timeline: bool = True
    fill_over_same_bytes: bool = True
    never_into_empty: bool = True
    fill_not_below_invalidation: bool = True
    source_has_known_epoch: bool = True
    primary_not_in_recovery: bool = True
    highest_timeline_counts: bool = True
    timeline_is_remembered: bool = True
    old_epoch_is_miss: bool = True
    unproved_never_fills: bool = True
    join_before_sending: bool = True
    worker_remembers: bool = True
    absent_needs_ownership: bool = True
    owner_to_primary_without_redis: bool = True
    absent_to_primary_without_redis: bool = True
    keys_name_their_run: bool = True
    message_forbids_store: bool = True
    lost_subscription_forbids_store: bool = True
    lost_subscription_empties: bool = True
    near_only_from_get: bool = True
    near_not_below_memory: bool = True
    owner_never_reads_near: bool = True

    def without(self, name: str) -> "Rules":
        """The same with one rule left out."""
        return replace(self, **{name: False})
