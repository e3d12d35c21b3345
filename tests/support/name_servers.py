"""
Real name servers (BIND) on loopback, with zones that a test writes and signs.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from tests.support.processes import running

SIGNER = shutil.which("dnssec-signzone") or "/usr/sbin/dnssec-signzone"
KEYGEN = shutil.which("dnssec-keygen") or "/usr/sbin/dnssec-keygen"
NAMED = shutil.which("named") or "/usr/sbin/named"


@dataclass(frozen=True, slots=True)
class Zone:
    """
    A zone as one server has it.
    """

    name: str
    records: str
    """Lines of a zone file besides SOA."""
    signed: tuple[float, float] | None = None
    """Begin and end of its signatures, in seconds since the epoch; None: it has none."""
    policy: bool = False
    """BIND signs it by itself, and keeps the signatures fresh (`dnssec-policy default`)."""


@contextlib.contextmanager
def name_server(directory: Path, address: str, port: int, zones: Sequence[Zone]) -> Iterator[None]:
    """
    A running server that has loaded all zones. BIND listens at addresses of interfaces only, which 127.0.0.2
    is not: a second server is at ::1.
    """
    directory.mkdir(parents=True, exist_ok=True)
    clauses = []
    for zone in zones:
        file = write(directory, zone)
        policy = 'dnssec-policy default; inline-signing yes; key-directory "keys";' if zone.policy else ""
        clauses.append(f'zone "{zone.name}" {{ type primary; file "{file}"; {policy} }};')
    (directory / "keys").mkdir(exist_ok=True)
    v4 = ":" not in address
    (directory / "named.conf").write_text(
        f'options {{ directory "{directory}"; pid-file none; session-keyfile none; lock-file none; '
        f"listen-on port {port} {{ {address if v4 else 'none'}; }}; "
        f"listen-on-v6 port {port} {{ {'none' if v4 else address}; }}; recursion no; "
        'dnssec-validation no; managed-keys-directory "keys"; notify no; };\n'
        "controls { };\n" + "\n".join(clauses) + "\n",
        encoding="utf-8",
    )
    with running(
        [NAMED, "-g", "-n", "1", "-c", directory / "named.conf"],
        ready=lambda: all(serves(address, port, zone) for zone in zones),
    ):
        yield


def write(directory: Path, zone: Zone) -> Path:
    """
    The file of a zone, signed if it is to be.
    """
    file = directory / f"{zone.name}.zone"
    file.write_text(
        f"$ORIGIN {zone.name}.\n$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n{zone.records}\n",
        encoding="utf-8",
    )
    if zone.signed is None:
        return file
    for flags in ([], ["-f", "KSK"]):
        command = [KEYGEN, "-q", "-a", "ECDSAP256SHA256", *flags, "-K", str(directory), zone.name]
        subprocess.run(command, check=True, capture_output=True)
    begin, end = (datetime.fromtimestamp(one, UTC).strftime("%Y%m%d%H%M%S") for one in zone.signed)
    subprocess.run(
        [
            SIGNER,
            "-q",
            "-P",
            "-S",
            "-K",
            directory,
            "-d",
            directory,
            "-o",
            zone.name,
            "-s",
            begin,
            "-e",
            end,
            file,
        ],
        check=True,
        capture_output=True,
        cwd=directory,
    )
    return file.with_name(f"{file.name}.signed")


def serves(address: str, port: int, zone: Zone) -> bool:
    """
    True when the server answers for the zone, with signatures if it is to have some.
    """
    question = dns.message.make_query(zone.name, "SOA", want_dnssec=True)
    try:
        answer = dns.query.udp(question, address, 1, port)
    except (OSError, dns.exception.DNSException):
        return False
    kinds = {rrset.rdtype for rrset in answer.answer}
    wanted = {dns.rdatatype.SOA} | (
        {dns.rdatatype.RRSIG} if zone.policy or zone.signed is not None else set()
    )
    return bool(answer.flags & dns.flags.AA) and wanted <= kinds
