"""
The targets of the demo, each with the state that its endpoint is in.
"""

STATES: dict[str, tuple[str, ...]] = {
    "healthy": ("fine", "seen"),
    "renewal-late": ("warning", "seen"),
    "two-days-left": ("critical", "seen"),
    "expired": ("critical", "seen", "expired"),
    "not-yet-valid": ("fine", "seen", "not_yet_valid"),
    "wrong-name": ("fine", "seen", "name_mismatch"),
    "untrusted": ("fine", "seen", "untrusted_root"),
    "missing-intermediate": ("fine", "seen", "missing_intermediate"),
    "client-certificate": ("fine", "client_certificate_required"),
    "silent": ("nothing", "handshake_timeout"),
    "refused": ("nothing", "connection_refused"),
}
"""By target: what the leaf's deadlines mean, what the probe gave, and why clients refuse it."""


REASONS = {name: state[-1] for name, state in STATES.items() if state[-1] != "seen"}
"""By target, the reason that its metrics give; those without one are missing."""
