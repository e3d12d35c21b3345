"""
The metric families: names, labels and help texts, each in one place.
"""

from dataclasses import dataclass

from exporter.model.foreign_text import printable_lines


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """
    One metric family: its name, its HELP text, and the labels of its series. Compared by identity.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


LABEL_LIMIT = 256
"""Characters of a label value that comes from a certificate."""


def bounded(value: str, limit: int = LABEL_LIMIT) -> str:
    """
    Return the value of a label, cut to so many characters.
    """
    return value if len(value) <= limit else value[: limit - 1] + "…"


def escape(value: str) -> str:
    """
    Return a label value escaped for the text format, as valid UTF-8 whatever it was.
    """
    if not value.isprintable():
        value = printable_lines(value)
    elif '"' not in value and "\\" not in value:
        return value
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


_ITEM = ("target", "location", "item", "kind")


_ENDPOINT = ("target", "location")


NOT_AFTER = Family(
    "expiry_not_after_timestamp_seconds",
    "When the item expires, in seconds since the epoch. "
    "Kept at its last seen value while the endpoint cannot be seen.",
    _ITEM,
)


NOT_BEFORE = Family(
    "expiry_not_before_timestamp_seconds", "From when the item is valid, in seconds since the epoch.", _ITEM
)


RENEWAL_DUE = Family(
    "expiry_renewal_due_timestamp_seconds",
    "When a healthy renewer would have replaced the item, by the target's policy.",
    _ITEM,
)


RENEWAL_HABIT = Family(
    "expiry_renewal_habit_seconds",
    "How old the item usually gets before it is renewed, as learned from the last renewals. "
    "Absent until three regular ones were seen, and where the policy says not to go by it.",
    _ITEM,
)


ALERT = Family(
    "expiry_alert_timestamp_seconds",
    "When a person should be told about the item, by the target's policy and the item's lifetime.",
    (*_ITEM, "severity"),
)


NEWEST = Family(
    "expiry_newest_not_after_timestamp_seconds",
    "The latest expiry known anywhere for an item of the same names and type of key, if it is later than "
    "expiry_not_after_timestamp_seconds: renewed but not deployed here. Absent otherwise. "
    "While clients accept the present item, one that they would refuse does not count.",
    _ITEM,
)


PREVIOUS_NOT_AFTER = Family(
    "expiry_previous_not_after_timestamp_seconds",
    "When the item before the present one expires or expired. Absent until the item changed once.",
    _ITEM,
)


PREVIOUS_NOT_BEFORE = Family(
    "expiry_previous_not_before_timestamp_seconds",
    "From when the item before the present one was valid. Absent until the item changed once.",
    _ITEM,
)


IDENTITY_CHANGED = Family(
    "expiry_identity_changed_timestamp_seconds",
    "When issuer and key of a leaf last changed together outside any renewal window, and not back to the "
    "previous ones. Absent if they never did.",
    _ITEM,
)


ROLLED_BACK = Family(
    "expiry_rolled_back_timestamp_seconds",
    "When an older leaf came back although a newer one had been in service for long. "
    "Absent while the newest is there.",
    _ITEM,
)


RENEWAL_WINDOW = Family(
    "expiry_renewal_window_start_timestamp_seconds",
    "When the window begins in which the issuer wants the item renewed (RFC 9773). "
    "Absent where the issuer said nothing.",
    _ITEM,
)


RENEWAL_EXPLANATION = Family(
    "expiry_renewal_explanation_info",
    "The page on which the issuer explains why it wants the item renewed then. Always 1.",
    (*_ITEM, "explanation_url"),
)


PROBLEM = Family(
    "expiry_problem_end_timestamp_seconds",
    "A problem with this item or target, at its worst endpoint: when the item expires; without an item, "
    "when the target was last OK, or since when it is known not to be. Absent without a problem. Has the "
    "user's labels too.",
    ("target", "item", "kind", "problem", "severity", "fingerprint_sha256"),
)


PROBLEM_INFO = Family(
    "expiry_problem_info",
    "1 for each problem, in words: cause, place, what to do first, and the text of a notification. "
    "hidden_by names the problem of the same item that says more: while that one is reported, this one "
    "need not be. remembered is yes where only what the exporter saw before makes it critical. Has the "
    "user's labels too.",
    (
        *("target", "item", "problem", "severity", "location"),
        *("cause", "where", "advice", "text", "hidden_by", "remembered"),
    ),
)


PROBLEM_PENDING = Family(
    "expiry_problem_pending_timestamp_seconds",
    "A target that can't be seen, which becomes a problem only if that lasts: when it was last OK, or since "
    "when it is known not to be. No alert goes by it. Has the user's labels too.",
    ("target", "problem", "severity", "location", "cause", "where", "advice"),
)


URGENCY = Family(
    "expiry_endpoint_urgency",
    "How urgent an endpoint is that is not OK, as the status page counts it: 1 warning, 2 unknown, "
    "3 critical. problem is its worst, absent where there is none yet. Absent for an endpoint that is OK. "
    "Has the labels of expiry_target_info, also the user's.",
    (*_ENDPOINT, "problem", "prober", "policy", "source"),
)


LAST_SEEN = Family(
    "expiry_last_seen_timestamp_seconds",
    "When the facts exported for the endpoint were really seen. Absent if they never were.",
    _ENDPOINT,
)


FIRST_SEEN = Family(
    "expiry_first_seen_timestamp_seconds",
    "When the endpoint was seen for the first time. Only exported in the 15 minutes after that, and not for "
    "endpoints that were there when the exporter began to watch. Has the user's labels too.",
    _ENDPOINT,
)


UNSEEN = Family(
    "expiry_unseen_info",
    "1 for each endpoint that was never seen while others of its target were; without `location`, 1 for each "
    "target of which nothing was ever seen. Problems known there before are not known to be over. Has the "
    "user's labels too.",
    _ENDPOINT,
)


CERTIFICATE = Family(
    "expiry_certificate_info",
    "The certificate that is this item now. Always 1.",
    ("target", "location", "item", "subject", "issuer", "serial", "fingerprint_sha256", "key"),
)


TLS = Family(
    "expiry_tls_info",
    "What the last finished handshake agreed on. Always 1.",
    ("target", "location", "protocol", "cipher"),
)


SUCCESS = Family(
    "expiry_probe_success",
    "1 if the endpoint was seen without a failure by its last probe, else 0.",
    _ENDPOINT,
)


DURATION = Family("expiry_probe_duration_seconds", "How long the last probe of the endpoint took.", _ENDPOINT)


FAILURE = Family(
    "expiry_probe_failure_info",
    "Why the last probe of the endpoint failed. 1 for that reason, absent when it did not. seen is yes where "
    "it saw what expires all the same: a server that then wanted a client certificate, a file with a damaged "
    "part.",
    (*_ENDPOINT, "reason", "seen"),
)


VERIFIED = Family(
    "expiry_verification_success",
    "1 if a normal client would accept what the endpoint presents, else 0. Absent if nothing was ever seen.",
    _ENDPOINT,
)


LAST_VERIFIED = Family(
    "expiry_verification_last_success_timestamp_seconds",
    "When a normal client would last have accepted the endpoint, if it would not accept what was seen last. "
    "Absent if it never would, and while it does: then expiry_last_seen_timestamp_seconds says when.",
    _ENDPOINT,
)


FAULT = Family(
    "expiry_verification_failure_info",
    "Why a normal client would refuse the endpoint. 1 for each fault found.",
    (*_ENDPOINT, "reason"),
)


HAZARD = Family(
    "expiry_hazard_info",
    "What will stop clients or the next renewal later, though nothing is wrong yet. 1 for each found.",
    (*_ENDPOINT, "reason"),
)


LOOKUP_FAILURE = Family(
    "expiry_lookup_failure_info",
    "Look-ups about the endpoint's certificates that failed the last time: revocation by list (crl) or "
    "responder (ocsp), renewal_information, dns. 1 for each reason, absent otherwise. See if the exporter's "
    "host may reach the server that it asks; the target's page names it.",
    (*_ENDPOINT, "lookup", "reason"),
)


TARGET = Family(
    "expiry_target_info",
    "Always 1, for every target, whatever its probe gave. Has the user's labels too. `source` names what "
    "found it; absent for targets of the configuration. `unsettled` is `yes` while this exporter, without "
    "its state, has seen it so few times that it can't know whether several servers take turns there, or "
    "first saw a domain after its registry may have moved its end.",
    ("target", "prober", "policy", "source", "unsettled"),
)


LEFT_OUT = Family(
    "expiry_target_left_out_endpoints",
    "Endpoints of the target that are not probed: addresses above the limit, or without a route from here. "
    "Absent when there are none.",
    ("target",),
)


UNWATCHED = Family(
    "expiry_unwatched_names",
    "Names on the target's certificates that no target watches, each counted at one target. "
    "Absent when there are none.",
    ("target",),
)


SWEEP_DURATION = Family(
    "expiry_sweep_duration_seconds", "How long the probes of all endpoints took in this scrape."
)


SWEEP_TIMEOUT = Family(
    "expiry_sweep_timeout_seconds",
    "How long the sweep may take: the scrape's timeout less an offset and the time for the answer.",
)


SWEEP_COMPLETE = Family(
    "expiry_sweep_complete", "1 if every endpoint was probed before the scrape's deadline, else 0."
)


SWEEP_TIME = Family(
    "expiry_sweep_timestamp_seconds",
    "When the sweep of this scrape was over, by the clock of the exporter's host.",
)


SWEEP_TARGETS = Family("expiry_sweep_targets", "Targets in the sweep of this scrape.")


SHARD_RATIO = Family(
    "expiry_shard_ratio",
    "The share of the targets that this replica has by --shard.total: 0.5 of two, 1 without the flag. "
    "Replicas that answer and whose shares make 1 have all targets.",
)


SWEEP_ENDPOINTS = Family("expiry_sweep_endpoints", "Endpoints in the sweep of this scrape.")


SWEEP_FAILURES = Family("expiry_sweep_failures", "Endpoints that could not be seen in this scrape.")


RELOAD_SUCCESS = Family(
    "expiry_config_last_reload_successful",
    "1 if the configuration was good when it was last loaded; 0: the one before it is still in use.",
)


RELOAD_TIME = Family(
    "expiry_config_last_reload_success_timestamp_seconds",
    "When the configuration in use was loaded, in seconds since the epoch.",
)


STATE_SUCCESS = Family(
    "expiry_state_last_save_successful",
    "1 if what was seen could be written to the state file last time, else 0. Absent where no state is kept.",
)


CACHE_BYTES = Family(
    "expiry_cache_bytes",
    "Bytes of parsed certificates and answers that are kept in memory, by cache.",
    ("cache",),
)


CACHE_ENTRIES = Family("expiry_cache_entries", "Entries that are kept in memory, by cache.", ("cache",))


CACHE_LIMIT = Family(
    "expiry_cache_limit_bytes",
    "Bytes that all caches together may hold; what was not used for longest is dropped first.",
)


DISCOVERY_SUCCESS = Family(
    "expiry_discovery_success",
    "1 if the source could be read the last time, else 0: its last list stays. Absent before the first try.",
    ("source",),
)


DISCOVERY_TIME = Family(
    "expiry_discovery_last_success_timestamp_seconds",
    "When the source could last be read, also before a restart. Absent if it never could.",
    ("source",),
)


DISCOVERY_TARGETS = Family(
    "expiry_discovery_targets",
    "Targets in the source's list, including those that the configuration or another source has too.",
    ("source",),
)


DISCOVERY_KEPT = Family(
    "expiry_discovery_kept_targets",
    "Targets that the source no longer lists, kept because too many went at once. Absent when there are"
    " none.",
    ("source",),
)


DISCOVERY_LEFT_OUT = Family(
    "expiry_discovery_left_out_targets",
    "What the source found above its `limit`, or what can't be a target. Absent when there is nothing.",
    ("source",),
)


DISCOVERY_PENDING = Family(
    "expiry_discovery_pending",
    "1 until every source was tried once since the start, then 0. Absent without `discover`.",
)


WEB = Family(
    "expiry_web_info",
    "Where people reach the exporter's pages (--web.external-url). Always 1. Absent without that flag.",
    ("external_url",),
)


BUILD = Family(
    "expiry_build_info",
    "The exporter's version and its libraries'. Always 1.",
    ("version", "python", "openssl"),
)


ENDPOINT_FAMILIES = (
    NOT_AFTER,
    NOT_BEFORE,
    RENEWAL_DUE,
    RENEWAL_HABIT,
    ALERT,
    NEWEST,
    PREVIOUS_NOT_AFTER,
    PREVIOUS_NOT_BEFORE,
    IDENTITY_CHANGED,
    ROLLED_BACK,
    RENEWAL_WINDOW,
    RENEWAL_EXPLANATION,
    LAST_SEEN,
    FIRST_SEEN,
    UNSEEN,
    CERTIFICATE,
    TLS,
    SUCCESS,
    DURATION,
    FAILURE,
    VERIFIED,
    LAST_VERIFIED,
    FAULT,
    HAZARD,
    LOOKUP_FAILURE,
)
"""Families with series for each endpoint."""


FAMILIES = (
    *ENDPOINT_FAMILIES,
    PROBLEM,
    PROBLEM_INFO,
    PROBLEM_PENDING,
    URGENCY,
    TARGET,
    LEFT_OUT,
    UNWATCHED,
    SWEEP_DURATION,
    SWEEP_TIMEOUT,
    SWEEP_COMPLETE,
    SWEEP_TIME,
    SWEEP_TARGETS,
    SHARD_RATIO,
    SWEEP_ENDPOINTS,
    SWEEP_FAILURES,
    RELOAD_SUCCESS,
    RELOAD_TIME,
    STATE_SUCCESS,
    CACHE_BYTES,
    CACHE_ENTRIES,
    CACHE_LIMIT,
    DISCOVERY_SUCCESS,
    DISCOVERY_TIME,
    DISCOVERY_TARGETS,
    DISCOVERY_KEPT,
    DISCOVERY_LEFT_OUT,
    DISCOVERY_PENDING,
    WEB,
    BUILD,
)
"""Every family, in the order in which they are exported."""
