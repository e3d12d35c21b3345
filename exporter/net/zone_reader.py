"""
Reads a DNS zone, by transfer (RFC 5936) or from a file (RFC 1035 section 5): its names with addresses.

It runs in a process of its own: see `apart`. Each line of its answer is `+name address...`; `>name other`
for an alias that leads out of the zone to another name, without its final dot; or `#` and a note for people.
"""

import json
import os
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import dns.exception
import dns.name
import dns.query
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.transaction
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zonefile

from exporter.model.destinations import is_of_each_host
from exporter.model.foreign_text import printable
from exporter.net.apart import answer

NAMES = 100_000
"""Names with addresses that are given at most."""


ALIASES = 16
"""Aliases in a row that are followed."""


ADDRESSES = 4
"""Addresses of one name that are given."""


SILENCE = 20.0
"""Seconds to wait for a server's next message."""


EXAMPLES = 3
"""Names in a note."""


KEY_LIMIT = 65_536


ALLOW = (
    "allow this host, or a key (`tsig_key_file`), to transfer the zone there: "
    "`allow-transfer` of BIND, `acl` of Knot"
)


_HOST = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class ZoneError(Exception):
    """
    The zone can't be read. The message says what to do.
    """


class Names:
    """
    The records of a zone that lead to addresses, by name in lower case without its final dot.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.addresses: dict[str, list[str]] = {}
        self.aliases: dict[str, str] = {}
        self.hosts: set[str] = set()
        """Hosts of MX and SRV records, which only a wildcard may have addresses for."""
        self.passed_over = 0
        """Names above the limit."""

    def add(self, name: dns.name.Name, kind: int, data: Any) -> None:
        """
        Take a record, if it leads to an address.
        """
        if kind not in _KINDS:
            return
        owner = _text(name)
        if len(self.addresses) + len(self.aliases) >= 2 * NAMES and owner not in self.addresses:
            self.passed_over += 1
        elif kind == dns.rdatatype.CNAME:
            self.aliases[owner] = _text(data.target)
        elif kind in {dns.rdatatype.A, dns.rdatatype.AAAA}:
            known = self.addresses.setdefault(owner, [])
            if len(known) < ADDRESSES:
                known.append(data.address)
        elif len(self.hosts) < NAMES:
            self.hosts.add(_text(data.exchange if kind == dns.rdatatype.MX else data.target))

    def lines(self) -> Iterator[str]:
        """
        Yield the answer.
        """
        given = 0
        left_out: dict[str, list[str]] = {}
        hosts = (one for one in sorted(self.hosts) if one not in self.addresses and one not in self.aliases)
        for name in (*self.addresses, *self.aliases, *hosts):
            why, line = self._line(name)
            if why:
                left_out.setdefault(why, []).append(name)
            elif line and given < NAMES:
                given += 1
                yield line
            elif line:
                self.passed_over += 1
        for why, names in left_out.items():
            shown = ", ".join(printable(one) for one in names[:EXAMPLES])
            more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
            yield f"#{why}: {shown}{more}"
        if self.passed_over:
            yield f"#{self.passed_over:,} records are above the limit of {NAMES:,} names, and were left out"

    def _line(self, name: str) -> tuple[str, str]:
        """
        Return why a name is left out, or its line; both are empty for one that is not of this zone.
        """
        if name.startswith("*."):
            return "wildcards have no name that could be asked for", ""
        if name != self.zone and not name.endswith(f".{self.zone}"):
            return "", ""
        if "_" in name:
            return "names with an underscore are no hosts", ""
        if is_of_each_host(name):
            return "localhost is another host for each client", ""
        if len(name) > 253 or not _HOST.fullmatch(name):
            return "no host has such a name", ""
        at = name
        for _ in range(ALIASES):
            found = self._at(at)
            if isinstance(found, list) and (found or at == name):
                return "", f"+{name} {' '.join(found)}" if found else ""
            if isinstance(found, list):
                # Another zone may have it, to which this one delegates.
                return "", f">{name} {at}"
            if found != self.zone and not found.endswith(f".{self.zone}"):
                return "", f">{name} {found}"
            at = found
        return "aliases (CNAME) that lead in a circle, or too far", ""

    def _at(self, name: str) -> list[str] | str:
        """
        Return the addresses of a name, or the name that it is an alias of; of a wildcard if there is no such
        name (RFC 4592).
        """
        while True:
            if name in self.addresses:
                return self.addresses[name]
            if name in self.aliases:
                return self.aliases[name]
            above = name.removeprefix("*.").partition(".")[2]
            if not above or name in {self.zone, f"*.{self.zone}"}:
                return []
            name = f"*.{above}"


_KINDS = {
    *(dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME, dns.rdatatype.MX, dns.rdatatype.SRV),
}


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


class _Manager(dns.transaction.TransactionManager):
    """
    The zone that dnspython's reader reads into, as far as it asks for it.
    """

    def __init__(self, origin: dns.name.Name) -> None:
        self._origin = origin

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        """
        Return that names stay whole.
        """
        return self._origin, False, self._origin

    def get_class(self) -> dns.rdataclass.RdataClass:
        """
        Return the class of all zones of the Internet.
        """
        return dns.rdataclass.IN

    def from_wire_origin(self) -> dns.name.Name | None:
        """
        Return that names in messages are whole.
        """
        return None


class _Records:
    """
    Takes records one by one, where dnspython would keep the whole zone.
    """

    def __init__(self, names: Names, origin: dns.name.Name) -> None:
        self.manager = _Manager(origin)
        self._names = names
        self.count = 0

    def add(self, name: dns.name.Name, _ttl: int, data: Any) -> None:
        """
        Take a record.
        """
        self.count += 1
        self._names.add(name, data.rdtype, data)

    def check_put_rdataset(self, _check: object) -> None:
        """
        Do nothing: whether a zone is a good one is for its server to say.
        """

    def _set_origin(self, origin: dns.name.Name) -> None:
        """
        Do nothing: the zone's name is known.
        """

    def add_unicode(self, _codec: str) -> None:
        """
        Do nothing: names are given as A-labels.
        """


def _text_of(path: str, **_: object) -> IO[str]:
    """
    Open a zone file. Comments and texts in other encodings than UTF-8 are nothing to a name server either.
    """
    return open(path, encoding="utf-8", errors="replace")  # noqa: PTH123 - for dnspython


# It opens the files of $INCLUDE by itself, and refuses these.
vars(dns.zonefile)["open"] = _text_of


def read_file(path: str, origin: dns.name.Name, names: Names) -> None:
    """
    Read a zone file. Files that it includes are relative to its directory. Raises ZoneError.
    """
    try:
        if not Path(path).is_file():
            raise ZoneError(f"{path} is no file, or can't be reached by this user")
        os.chdir(Path(path).parent)
        with _text_of(path) as file:
            records = _Records(names, origin)
            reader: Any = dns.zonefile.Reader(
                dns.tokenizer.Tokenizer(file, filename=path),
                dns.rdataclass.IN,
                records,  # type: ignore[arg-type] # what it uses of a transaction
                allow_include=True,
            )
            reader.read()
    except (dns.exception.DNSException, ValueError) as error:
        raise ZoneError(f"the zone file has an error: {_said(error)}") from None
    except OSError as error:
        hint = ": its $INCLUDE may lead in a circle" if error.errno == 24 else ""
        raise ZoneError(f"{error.filename or path} can't be read: {error.strerror}{hint}") from None
    if not records.count:
        raise ZoneError(f"{path} has no records")


def key_from(text: str) -> dns.tsig.Key:
    """
    Return the TSIG key (RFC 8945) in a file: as tsig-keygen, keymgr or `dig -y` have it. Raises ZoneError.
    """
    name = re.search(r'\bkey\s+"?([^"\s{;]+)"?\s*\{', text) or re.search(r'\bid:\s*"?([^"\s]+)', text)
    secret = re.search(r'\bsecret:?\s+"?([A-Za-z0-9+/=]+)', text)
    algorithm = re.search(r'\balgorithm:?\s+"?([A-Za-z0-9.-]+)', text)
    plain = re.fullmatch(r"(?:([a-z0-9-]+):)?([^:\s]+):([A-Za-z0-9+/=]+)", text.strip())
    if plain is not None:
        found = plain[1] or "hmac-sha256", plain[2], plain[3]
    elif name and secret:
        found = algorithm[1].lower() if algorithm else "hmac-sha256", name[1], secret[1]
    else:
        raise ZoneError(
            "the file of the TSIG key has none: it must have the form that tsig-keygen or keymgr write, or "
            "algorithm:name:secret"
        )
    try:
        return dns.tsig.Key(found[1], found[2], found[0])
    except (dns.exception.DNSException, ValueError):
        raise ZoneError("the TSIG key can't be used: check its name, algorithm and secret") from None


def transfer(told: dict[str, Any], origin: dns.name.Name, names: Names) -> None:
    """
    Read a zone by transfer. Raises ZoneError.
    """
    server, port = told["address"], told["port"]
    where = f"{server} port {port}"
    options: dict[str, Any] = {}
    key = key_from(_content(told["key"])) if told["key"] else None
    if key is not None:
        options = {"keyring": {key.name: key}, "keyname": key.name, "keyalgorithm": key.algorithm}
    signed = f"with the key {printable(_text(key.name))}" if key is not None else "without a key"
    try:
        for message in dns.query.xfr(server, origin, port=port, relativize=False, timeout=SILENCE, **options):
            for record in message.answer:
                for data in record:
                    names.add(record.name, record.rdtype, data)
    except dns.tsig.PeerError as error:
        raise ZoneError(
            f"{where} does not accept the TSIG key ({type(error).__name__}): its name, algorithm and "
            "secret must be the same on both sides, and the clocks within 5 minutes"
        ) from None
    except dns.xfr.TransferError as error:
        raise ZoneError(
            f"{where} refuses the transfer {signed} ({dns.rcode.to_text(error.rcode)}): {ALLOW}"
        ) from None
    except (dns.exception.Timeout, TimeoutError):
        raise ZoneError(f"{where} did not answer in {SILENCE:g} s: a firewall may drop TCP there") from None
    except EOFError:
        raise ZoneError(f"{where} closed the connection: {ALLOW}") from None
    except (dns.exception.DNSException, ValueError) as error:
        raise ZoneError(f"{where} answers what is no transfer {signed} ({_said(error)}): {ALLOW}") from None
    except OSError as error:
        raise ZoneError(f"{where} can't be reached: {error.strerror or type(error).__name__}") from None


def _content(path: str) -> str:
    try:
        if not Path(path).is_file():
            raise ZoneError(f"{path}, the file of the TSIG key, is no file, or can't be reached by this user")
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a part of it
            return file.read(KEY_LIMIT)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ZoneError(f"{path}, the file of the TSIG key, can't be read: {words}") from None


def _said(error: Exception) -> str:
    return printable(str(error) or type(error).__name__)[:300]


def work(line: bytes) -> Iterator[str]:
    """
    Read the zone that the line names, and yield the answer. Raises ZoneError.
    """
    told = json.loads(line)
    try:
        origin = dns.name.from_text(told["zone"])
    except (dns.exception.DNSException, ValueError) as error:
        raise ZoneError(f"{told['zone']!r} is no name of a zone: {_said(error)}") from None
    names = Names(_text(origin))
    try:
        if told["file"]:
            read_file(told["file"], origin, names)
        else:
            socket.setdefaulttimeout(SILENCE)
            transfer(told, origin, names)
    except MemoryError:
        raise ZoneError("the zone is too large for the memory that its reader may take") from None
    yield from names.lines()


def main(_: Iterable[str] = ()) -> None:
    """
    Read one zone for the process at the other end of the standard streams, and end.
    """
    answer(work, ZoneError)


if __name__ == "__main__":
    main()
