"""
Suggestions for unknown words in messages.
"""

import difflib
from collections.abc import Iterable

OTHER_NAMES = {
    "coaps": "dtls",
    "doh": "https",
    "grpc": "tls",
    "grpcs": "tls",
    "http": "https",
    "http3": "h3",
    "ipps": "tls",
    "k8s": "kubernetes",
    "kafka": "tls",
    "mariadb": "mysql",
    "mqtt": "tls",
    "mqtts": "tls",
    "pg": "postgres",
    "postgresql": "postgres",
    "rdap": "domain",
    "redis": "rediss",
    "rtmps": "tls",
    "rtsps": "tls",
    "sips": "tls",
    "sqlserver": "mssql",
    "ssl": "tls",
    "stomp": "tls",
    "stomps": "tls",
    "tcp": "tls",
    "tcps": "tls",
    "udp": "dtls",
    "whois": "domain",
    "ws": "https",
    "wss": "https",
}
"""Other names of some schemes of URLs, which are spelled too differently, or nearer to another scheme."""


def closest(word: str, known: Iterable[str], *, listed: str = "") -> str:
    """
    Return the end of a message about an unknown word: the closest known word, or all of them.

    `listed` says where all known words are listed, when they are too many for a message.
    """
    known = sorted(filter(str.isprintable, known))
    close = difflib.get_close_matches(word, known, n=1)
    meant = f"did you mean {close[0]!r}?" if close else ""
    if listed:
        return f"{meant} {listed}".lstrip()
    return meant or f"known are {', '.join(known)}"
