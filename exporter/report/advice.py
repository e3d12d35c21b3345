"""
Advice: the remedy for each reason of a failed probe, fault, hazard, failed look-up and coming end.

Pure. Each table has every value of its enum; a test holds that.
"""

from collections.abc import Iterable

from exporter.model.observation import Item
from exporter.model.policies import AUTOMATIC, MANUAL, Policy, renewer_of
from exporter.model.reasons import Fault, Hazard, Kind, Lookup, Reason

FAILURES: dict[Reason, str] = {
    Reason.DNS_NOT_FOUND: (
        "Remove the target if its name was given up; else correct its URL, or the DNS. `getent ahosts NAME` "
        "on the exporter's host shows what it sees."
    ),
    Reason.DNS_FAILED: (
        "Look at the resolvers in /etc/resolv.conf of the exporter's host, and at the zone's name servers."
    ),
    Reason.DNS_TIMEOUT: (
        "Look at the resolvers in /etc/resolv.conf of the exporter's host; a firewall may drop the queries."
    ),
    Reason.CONNECTION_REFUSED: (
        "Start the server, or correct the port. If it is one address of several, take it out of DNS until"
        " it is back."
    ),
    Reason.CONNECTION_RESET: (
        "Read the server's log for this time, and look for a firewall or proxy in between that cuts "
        "connections."
    ),
    Reason.CONNECTION_CLOSED: (
        "Read the server's log for this time: often it has no certificate for this name, or too many "
        "connections."
    ),
    Reason.CONNECT_TIMEOUT: "Is the host up? If it is, a firewall on the way drops the packets.",
    Reason.NETWORK_UNREACHABLE: (
        "Look at routes and local firewall of the exporter's host. If it has no IPv6, set "
        "`address_family: ipv4`."
    ),
    Reason.HANDSHAKE_TIMEOUT: (
        "The server hangs or is overloaded, or this port speaks another protocol than TLS. If it is only "
        "slow, raise the target's `timeout`."
    ),
    Reason.HANDSHAKE_ENDLESS: (
        "No proper server does this: see what answers at this port, and whether it was taken over. "
        "Clients that do not stop reading hang on it."
    ),
    Reason.HANDSHAKE_REFUSED: (
        "Read the server's log: it may know no such name (set `server_name`), or share no protocol or "
        "cipher with usual clients."
    ),
    Reason.NOT_TLS: (
        "Correct the port or the scheme of the target's URL: what answers there does not speak TLS."
    ),
    Reason.BAD_CERTIFICATE: "Replace the certificate, or present fewer: clients fail on this too.",
    Reason.NO_CERTIFICATE: "Configure ciphers that authenticate the server.",
    Reason.CLIENT_CERTIFICATE_REQUIRED: (
        "Set `client_certificate` for this target, or leave it: the server's own dates were still seen."
    ),
    Reason.CLIENT_CERTIFICATE_REFUSED: (
        "See whether the configured client certificate has expired, and whether its CA is the one that "
        "the server wants."
    ),
    Reason.CLIENT_CERTIFICATE_UNUSABLE: (
        "Look at the paths, permissions and pass phrase of `client_certificate`. The files are read again"
        " when they change."
    ),
    Reason.TIMEOUT: (
        "Raise Prometheus's `scrape_timeout` or --sweep.concurrency, or lower the targets' `timeout`."
    ),
    Reason.STARTTLS_REFUSED: (
        "Enable TLS in this server, or correct the scheme and the port of the target's URL."
    ),
    Reason.SERVER_REFUSED: (
        "Read the server's words in the log: it has too many connections, is going down, or its access or "
        "block lists keep the exporter's host out."
    ),
    Reason.STARTTLS_UNEXPECTED: (
        "Correct the scheme or the port of the target's URL: what answers there speaks another protocol, "
        "or breaks this one."
    ),
    Reason.PROXY_FAILED: (
        "Look at the proxy between the exporter and the target: its address, its password, and what it "
        "permits."
    ),
    Reason.NO_MATCH: "Correct the pattern, or see why nothing is there any more.",
    Reason.FILE_NOT_FOUND: "Correct the path, or mount the file where the exporter runs.",
    Reason.FILE_UNREADABLE: "Let the exporter's user read the file and enter its directories.",
    Reason.FILE_TOO_LARGE: (
        "Point the target at the file with the certificates: this one is too large to be it."
    ),
    Reason.NOT_A_FILE: "Point the target at a file: a directory, socket or device is there.",
    Reason.FORMAT_UNKNOWN: (
        "Point the target at a certificate, keystore, revocation list or what else the manual names."
    ),
    Reason.FORMAT_UNSUPPORTED: (
        "Convert the file to a format that the manual names (a PKCS#12 keystore with AES, say), or watch the "
        "place that serves the certificate."
    ),
    Reason.FORMAT_BROKEN: (
        "Write the file anew: it is cut off or damaged. A tool that writes in place may have been "
        "interrupted."
    ),
    Reason.NOTHING_EXPIRES: (
        "Point the target at what holds certificates: here are only things that do not expire, such as keys."
    ),
    Reason.KEYSTORE_LOCKED: (
        "Set the password of the keystore for this target, by file or environment variable."
    ),
    Reason.KEYSTORE_PASSWORD_WRONG: (
        "Correct the password of the keystore in its file or environment variable."
    ),
    Reason.ACCESS_DENIED: "Give the exporter the right to read this (role, token, permission).",
    Reason.HTTP_FAILED: (
        "Try the same request from the exporter's host; the service may be down or the proxy in the way."
    ),
    Reason.RATE_LIMITED: "Wait: it is asked again later. If it stays, look this target up less often.",
    Reason.ADDRESS_NOT_ALLOWED: (
        "See why the name leads there. If that is meant, add the address or its network to `probe.allow`, or "
        "configure the target."
    ),
    Reason.NOT_REGISTERED: "Correct the name. If it was yours, it has lapsed: register it again at once.",
    Reason.LOOKUP_FAILED: "Try the same look-up from the exporter's host; the service asked may be down.",
    Reason.INTERNAL_ERROR: (
        "Read the exporter's log: it has a traceback to report, or says to raise `ulimit -n`."
    ),
}
"""By reason of a failed probe."""


FAULTS: dict[Fault, str] = {
    Fault.EXPIRED: "Renew the certificate, install it, and reload the server.",
    Fault.NOT_YET_VALID: (
        "Compare the clocks of the server and of the exporter's host. If both are right, install the "
        "certificate that is valid today."
    ),
    Fault.CHAIN_EXPIRED: "Install the chain that the CA gives today, then reload the server.",
    Fault.CHAIN_NOT_YET_VALID: (
        "Compare the clocks of the server and of the exporter's host. If both are right, install the "
        "chain that the CA gives today."
    ),
    Fault.NAME_MISMATCH: (
        "Get a certificate for this name. If the server is meant to be known by another, set `server_name`."
    ),
    Fault.SELF_SIGNED: "Get a certificate from a CA, or trust this one by `ca_file`.",
    Fault.UNTRUSTED_ROOT: (
        "For a private CA set `ca_file`; else update the trust store of the exporter's host (package "
        "ca-certificates)."
    ),
    Fault.MISSING_INTERMEDIATE: (
        "Install the full chain (often fullchain.pem) on the server. For a private CA set `ca_file`."
    ),
    Fault.INVALID_CHAIN: "Install the chain that the CA gives with the certificate, and nothing else.",
    Fault.CA_AS_LEAF: "Install the server's own certificate in place of the CA's.",
    Fault.WRONG_KEY_USAGE: "Get a certificate for server authentication.",
    Fault.WEAK_KEY: (
        "Make a new key (ECDSA P-256, or RSA of 2048 bits or more), and get a certificate for it."
    ),
    Fault.WEAK_SIGNATURE: "Have the certificate issued anew: its CA should sign with SHA-256 or better.",
    Fault.WEAK_PROTOCOL: "Enable TLS 1.2 and TLS 1.3 on the server.",
    Fault.WEAK_CIPHER: "Configure the server for modern ciphers (AES-GCM, ChaCha20).",
    Fault.REVOKED: (
        "Get a new certificate with a new key and install it now; then ask who revoked the old one, and why."
    ),
    Fault.STAPLE_MISSING: "Enable OCSP stapling on the server: its certificate demands it (must-staple).",
    Fault.STAPLE_INVALID: (
        "Reload the server; if it stays, see whether the server can reach its CA's OCSP responder."
    ),
    Fault.TLSA_MISMATCH: (
        "Publish a TLSA record for this certificate or key, or install the one that the record names."
    ),
    Fault.MALFORMED: (
        "Have it issued anew by software that encodes it as RFC 5280 demands; until then, test the clients "
        "that matter."
    ),
    Fault.TRUST_STORE_UNUSABLE: (
        "Look at the file named by `ca_file`, or install ca-certificates on the exporter's host."
    ),
}
"""By fault of a presented chain or handshake."""


HAZARDS: dict[Hazard, str] = {
    Hazard.CAA_FORBIDS_ISSUER: (
        "Add the CA to the CAA records of the zone, or the next renewal will be refused."
    ),
    Hazard.NAME_NOT_RESOLVING: (
        "Take the name out of the certificate or put it back into DNS, or the next renewal may fail."
    ),
    Hazard.DOMAIN_HOLD: (
        "Ask the registrar why the domain is on hold: a bill, a missing confirmation, a dispute."
    ),
    Hazard.DOMAIN_REDEMPTION: (
        "Restore the domain at the registrar now: it was deleted, and soon anybody can take it."
    ),
    Hazard.DOMAIN_PENDING_DELETE: (
        "Ask the registrar today whether it can be restored; else prepare to register it again the moment"
        " it falls free."
    ),
    Hazard.DOMAIN_AUTO_RENEW: (
        "Pay, or see that it was paid: the registry renewed the domain on its own, and the registrar may "
        "still give it back."
    ),
}
"""By hazard."""


LOOKUPS: dict[Lookup, str] = {
    Lookup.CRL: (
        "Does a firewall or proxy keep the exporter's host from the list, or is the authority down? If there "
        "is no list, remove `crl` from this target."
    ),
    Lookup.OCSP: (
        "Does a firewall or proxy keep the exporter's host from the responder, or is the authority down? If "
        "none answers, remove `ocsp` from this target."
    ),
    Lookup.RENEWAL_INFORMATION: (
        "Nothing is due: the policy decides alone. Let the exporter's host reach the ACME server, or set "
        "`renewal_information: false`."
    ),
    Lookup.DNS: (
        "Look at the resolvers that the exporter asks (`dns_servers`, or /etc/resolv.conf of its host), and "
        "at the zone's name servers."
    ),
}
"""By kind of a failed look-up."""


ROLLED_BACK = (
    "Put the newer one and its key back, and reload the server; then see what brought the old one back (a "
    "rollback, a restored backup, an image with a copy of its own)."
)
"""For an older certificate that is served again."""


NOT_DEPLOYED = (
    "Install the newer one here and reload the server; then see why the deployment left this place out."
)
"""For a certificate that was renewed, and is not the one that is served."""


IDENTITY_CHANGED = (
    "Was it planned (another CA, a CDN, a new load balancer)? Then there is nothing to do. If not, treat it "
    "as a break-in until you know: see whether addresses, name servers and this key are yours."
)
"""For issuer and key that changed together when nobody renews."""


NEEDLESS = (
    "Remove it from the chain that the server sends, and reload the server: it has expired, clients do not "
    "need it, and some old clients fail because of it."
)
"""For a CA certificate that has ended and is still sent, without which clients accept the server."""


REPLACED = "Nothing is due. Once nothing issued by it is in use, take it out of here."
"""For a CA certificate that has ended, while its successor stands in the same place."""


UNWATCHED = (
    "Add a target for each of these names: the exporter's page `/unwatched` has them ready to copy. What "
    "needs none goes to `ignore` under `coverage` in the configuration."
)
"""For names on a certificate that no target looks at."""


FOREIGN_ISSUER = (
    "Was it planned (another CA, a CDN)? Then add its CA to `issuers`. If not, treat it as a break-in until "
    "you know: see whether addresses, name servers and this key are yours."
)
"""For a certificate that none of the expected CAs issued."""


FOREIGN_ISSUANCE = (
    "Ask who ordered it. If it was planned (another CA, a CDN), add its CA to `issuers`. If nobody did, "
    "somebody else can pose as you: have the CA revoke it, and see whether addresses, name servers and the "
    "accounts there are yours."
)
"""For a certificate that only a log knows, and that none of the expected CAs issued."""


ISSUED_ELSEWHERE = (
    "See where it was meant to go. If it belongs here, install it and reload the server; if it is for "
    "another server or another type of key, there is nothing to do."
)
"""For a certificate of the same names and issuer that only a log knows."""


EXPECTED_ABOVE = (
    "Logs say only who issued it, not which CA stands above that one. If the issuer is one of yours, add its "
    "organization to `issuers`."
)
"""For a certificate that only a log knows, where `issuers` names what stands above the issuer."""


_RENEWALS: dict[Kind, str] = {
    Kind.INTERMEDIATE: (
        "Install the chain that the CA gives today, then reload the server. If it is the same, renew the "
        "leaf."
    ),
    Kind.AUTHORITY: (
        "Make the next CA certificate now, and give it to all that trust this one before it expires."
    ),
    Kind.CRL: "Have the CA publish its next revocation list: see why its job did not run.",
    Kind.OCSP: "Reload the server; if it stays, see whether it can reach its CA's OCSP responder.",
    Kind.REGISTRATION: (
        "Renew the domain at its registrar, and see that the card and the address there are good."
    ),
    Kind.DNSSEC: "Have the zone signed again: see why the signer did not run, or could not write.",
    Kind.METADATA: (
        "Fetch the federation's metadata anew, or sign your own again: see why the job that does it did not "
        "run."
    ),
    Kind.SSH: "Have the certificate signed again by the SSH CA, install it, and reload sshd.",
}
"""By kind of item, where the advice does not depend on the policy."""


def renewal(kind: Kind, policy: Policy) -> str:
    """
    Return the advice for an item whose end is near or over.
    """
    if kind in _RENEWALS:
        return _RENEWALS[kind]
    if policy.warning is None:
        return (
            "Read the log of what renews it (certbot, cert-manager, the cloud's own): did it fail, or did it "
            "renew and the server was not reloaded? Until that is known, renew by hand."
        )
    return "Renew it now (this takes a person), install it on every server that has it, and reload them."


def policy_hint(item: Item, policy: Policy, places: Iterable[str], renewer: str = "") -> str:
    """
    Return a sentence, after a space, with the policy of what seems to renew the item; empty without one.

    It is the `renewer` that the facts name, or issuer, subject or one of the places (URL, path) gives it
    away. A policy that somebody chose is left alone.
    """
    if item.certificate is None or policy.name not in {AUTOMATIC.name, MANUAL.name}:
        return ""
    found = renewer_of(item.certificate.issuer, item.certificate.subject, places, renewer)
    if found is None:
        return ""
    return f" It looks as if {found.who} renews it: then set `policy: {found.policy.name}`."
