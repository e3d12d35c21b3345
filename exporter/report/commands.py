"""
Commands that show a problem, to be pasted into a shell. Pure.
"""

import shlex

from exporter.judgement.problems import Onset
from exporter.model.probers import WIRE
from exporter.model.problems import Problem
from exporter.model.schemes import SCHEMES

_STARTTLS = {
    **{name: name for name in ("smtp", "lmtp", "imap", "pop3", "ftp", "xmpp", "xmpp-server", "postgres")},
    **{name: name for name in ("mysql", "ldap", "irc", "sieve", "nntp")},
    "submission": "smtp",
}
"""By scheme, the dialogue's name in `openssl s_client -starttls` (OpenSSL 3.0)."""


def command(onset: Onset, address: str) -> str:
    """
    Return a shell command that shows the problem. `address` is the URL of the exporter.

    Names are quoted for a shell (POSIX.1, 2.2.2). It has no `<` or `>` of its own, which templates of
    notifications replace.
    """
    target = onset.known.target
    if onset.stranger is not None:
        # The name, not the number: whoever looks wants to see what else was issued for it.
        name = shlex.quote(f"q={onset.stranger.issuance.names[0].removeprefix('*.')}")
        return f"curl -sG https://crt.sh/ -d output=json -d exclude=expired --data-urlencode {name}"
    scheme = SCHEMES[target.url.scheme]
    direct = target.proxy is None and target.proxy_protocol == "none"
    if scheme.prober == WIRE and direct and (not scheme.dialogue or target.url.scheme in _STARTTLS):
        return _openssl(onset)
    query = shlex.quote(f"target={target.name}")
    return f"curl -sG {shlex.quote(f'{address}/probe')} -d debug=true --data-urlencode {query}"


def _openssl(onset: Onset) -> str:
    target, name = onset.known.target, onset.known.target.sni
    words = ["openssl", "s_client", "-connect", onset.known.location]
    words += ["-servername", name] if name is not None else ["-noservername"]
    if SCHEMES[target.url.scheme].dialogue:
        words += ["-starttls", _STARTTLS[target.url.scheme]]
        if target.url.scheme.startswith("xmpp"):
            words += ["-name", target.expected_name]
    shown = shlex.join(words)
    # Of what can't be seen the error is wanted, of the rest the certificate.
    if onset.problem is Problem.PROBE_FAILING:
        return f"echo | {shown}"
    wanted = (
        "-ext subjectAltName" if onset.problem is Problem.UNWATCHED else "-subject -issuer -serial -dates"
    )
    return f"echo | {shown} | openssl x509 -noout {wanted}"
