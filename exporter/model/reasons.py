"""
The closed lists: reasons of failed probes, faults, hazards, look-ups and kinds of items.

Their values are the label values of the metrics and the headings of the manual.
"""

from enum import StrEnum


class Reason(StrEnum):
    """
    The reason of a failed probe. The values are label values and headings in the manual: they are API.
    """

    DNS_NOT_FOUND = "dns_not_found"
    DNS_FAILED = "dns_failed"
    DNS_TIMEOUT = "dns_timeout"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"
    CONNECTION_CLOSED = "connection_closed"
    CONNECT_TIMEOUT = "connect_timeout"
    NETWORK_UNREACHABLE = "network_unreachable"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    HANDSHAKE_ENDLESS = "handshake_endless"
    HANDSHAKE_REFUSED = "handshake_refused"
    NOT_TLS = "not_tls"
    BAD_CERTIFICATE = "bad_certificate"
    NO_CERTIFICATE = "no_certificate"
    CLIENT_CERTIFICATE_REQUIRED = "client_certificate_required"
    CLIENT_CERTIFICATE_REFUSED = "client_certificate_refused"
    CLIENT_CERTIFICATE_UNUSABLE = "client_certificate_unusable"
    TIMEOUT = "timeout"
    STARTTLS_REFUSED = "starttls_refused"
    SERVER_REFUSED = "server_refused"
    STARTTLS_UNEXPECTED = "starttls_unexpected"
    PROXY_FAILED = "proxy_failed"
    NO_MATCH = "no_match"
    FILE_NOT_FOUND = "file_not_found"
    FILE_UNREADABLE = "file_unreadable"
    FILE_TOO_LARGE = "file_too_large"
    NOT_A_FILE = "not_a_file"
    FORMAT_UNKNOWN = "format_unknown"
    FORMAT_UNSUPPORTED = "format_unsupported"
    FORMAT_BROKEN = "format_broken"
    NOTHING_EXPIRES = "nothing_expires"
    KEYSTORE_LOCKED = "keystore_locked"
    KEYSTORE_PASSWORD_WRONG = "keystore_password_wrong"  # noqa: S105 - a reason, not a pass phrase
    ACCESS_DENIED = "access_denied"
    HTTP_FAILED = "http_failed"
    RATE_LIMITED = "rate_limited"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    NOT_REGISTERED = "not_registered"
    LOOKUP_FAILED = "lookup_failed"
    INTERNAL_ERROR = "internal_error"


class Fault(StrEnum):
    """
    A reason for which a normal client refuses an endpoint. The values are label values: they are API.
    """

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    CHAIN_EXPIRED = "chain_expired"
    CHAIN_NOT_YET_VALID = "chain_not_yet_valid"
    NAME_MISMATCH = "name_mismatch"
    SELF_SIGNED = "self_signed"
    UNTRUSTED_ROOT = "untrusted_root"
    MISSING_INTERMEDIATE = "missing_intermediate"
    INVALID_CHAIN = "invalid_chain"
    CA_AS_LEAF = "ca_as_leaf"
    WRONG_KEY_USAGE = "wrong_key_usage"
    WEAK_KEY = "weak_key"
    WEAK_SIGNATURE = "weak_signature"
    WEAK_PROTOCOL = "weak_protocol"
    WEAK_CIPHER = "weak_cipher"
    REVOKED = "revoked"
    STAPLE_MISSING = "staple_missing"
    STAPLE_INVALID = "staple_invalid"
    TLSA_MISMATCH = "tlsa_mismatch"
    MALFORMED = "malformed"
    TRUST_STORE_UNUSABLE = "trust_store_unusable"


class Hazard(StrEnum):
    """
    A condition that will stop clients or the next renewal later. The values are label values: they are API.
    """

    CAA_FORBIDS_ISSUER = "caa_forbids_issuer"
    NAME_NOT_RESOLVING = "name_not_resolving"
    DOMAIN_HOLD = "domain_hold"
    DOMAIN_REDEMPTION = "domain_redemption"
    DOMAIN_PENDING_DELETE = "domain_pending_delete"
    DOMAIN_AUTO_RENEW = "domain_auto_renew"


class Lookup(StrEnum):
    """
    A look-up about an endpoint at another server. The values are label values: they are API.
    """

    CRL = "crl"
    OCSP = "ocsp"
    RENEWAL_INFORMATION = "renewal_information"
    DNS = "dns"


class Kind(StrEnum):
    """
    The kind of an item. The values are label values: they are API.
    """

    LEAF = "leaf"
    INTERMEDIATE = "intermediate"
    ROOT = "root"
    AUTHORITY = "authority"
    """A CA certificate on its own, without a leaf."""
    CRL = "crl"
    OCSP = "ocsp"
    """An OCSP response, stapled or in a file."""
    REGISTRATION = "registration"
    """The registration of a domain."""
    DNSSEC = "dnssec"
    """A signature (RRSIG) of a DNS zone."""
    SSH = "ssh"
    """An OpenSSH certificate, of a host or a user."""
    METADATA = "metadata"
    """SAML metadata that states until when it is valid."""


SIGNED = frozenset({Kind.CRL, Kind.OCSP, Kind.DNSSEC})
"""Kinds that a machine signs anew every few days."""
