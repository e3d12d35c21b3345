"""
Registries: finding the one of a domain, and looking the domain up there by RDAP or WHOIS.

IANA publishes the RDAP servers of registries as a bootstrap file (RFC 9224). It is fetched rarely; until it
was, and when it can't be, the shipped part of it is used. A registry without an RDAP server is asked by WHOIS
(RFC 3912).
"""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from importlib import resources
from types import MappingProxyType
from typing import Any

from publicsuffixlist import PublicSuffixList

from exporter.logs import fields
from exporter.model import foreign_json
from exporter.model.destinations import Range, range_of, refusal
from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.background import FIRST_PAUSE, Answer, LookupFailedError
from exporter.net.http import Downloaded, download
from exporter.net.network import Network
from exporter.net.pools import Pool
from exporter.pki.renewal_information import seconds_of
from exporter.probes.domains import rdap, registration, whois
from exporter.probes.domains.registration import RegistrationError

logger = logging.getLogger(__name__)


AGAIN_AFTER = 6 * 3600.0
"""Seconds between two look-ups of a domain. Registries block clients that ask often."""


LONGEST_WAIT = 86400.0
"""Seconds; a longer Retry-After of a server is cut to this."""


BOOTSTRAP_URL = "https://data.iana.org/rdap/dns.json"


BOOTSTRAP_AGE = (86400.0, 30 * 86400.0)
"""Least and most seconds for which a fetched bootstrap file is used, whatever its headers say."""


BOOTSTRAP_RETRY = 3600.0
"""Seconds after which a failed fetch of the bootstrap file is tried again."""


BOOTSTRAP_LIMIT = 4_000_000
"""Bytes; IANA's file has about 100,000."""


RDAP_LIMIT = 1_000_000
"""Bytes of an answer about one domain."""


RDAP_TIMEOUT = 20.0


WHOIS_PORT = 43


SILENCE = 10.0
"""Seconds after which a failed query counts as silence. The server is then left alone for FIRST_PAUSE: else
each domain of a silent one waits for it in turn, and takes the place of look-ups at other servers."""


WHOIS_LIMIT = 200_000


WHOIS_TIMEOUT = 15.0


WHOIS_ROOT = "whois.iana.org"
"""IANA's WHOIS server, which refers to the WHOIS server of each top-level domain."""


WHOIS_SERVERS = {
    "at": "whois.nic.at",
    "be": "whois.dns.be",
    "ch": "whois.nic.ch",
    "cl": "whois.nic.cl",
    "cn": "whois.cnnic.cn",
    "de": "whois.denic.de",
    "ee": "whois.tld.ee",
    "es": "whois.nic.es",
    "eu": "whois.eu",
    "hu": "whois.nic.hu",
    "io": "whois.nic.io",
    "it": "whois.nic.it",
    "jp": "whois.jprs.jp",
    "kr": "whois.kr",
    "kz": "whois.nic.kz",
    "lt": "whois.domreg.lt",
    "lu": "whois.dns.lu",
    "lv": "whois.nic.lv",
    "me": "whois.nic.me",
    "mx": "whois.mx",
    "nu": "whois.iis.nu",
    "pt": "whois.dns.pt",
    "ro": "whois.rotld.ro",
    "ru": "whois.tcinet.ru",
    "se": "whois.iis.se",
    "sk": "whois.sk-nic.sk",
    "su": "whois.tcinet.ru",
    "us": "whois.nic.us",
}
"""WHOIS servers of frequent registries without RDAP, by top-level domain, so that IANA is not asked first."""


WHOIS_QUERIES = {"de": "-T dn,ace {}", "jp": "{}/e"}
"""Queries for a whole answer in English, by top-level domain, where the name alone is not enough."""


@dataclass(frozen=True, slots=True)
class Servers:
    """
    The servers to ask, and the pace. Tests have servers of their own.
    """

    bootstrap_url: str = BOOTSTRAP_URL
    whois_servers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(WHOIS_SERVERS))
    """By top-level domain."""
    whois_root: str = WHOIS_ROOT
    whois_port: int = WHOIS_PORT
    trust: ssl.SSLContext | None = None
    """The context that verifies HTTPS servers; None: with the system's trust anchors."""
    gap: float = 0.25
    """Seconds between two queries to the same server."""


_READING = Pool("registries", 2)


Services = Mapping[str, tuple[str, ...]]
"""Base URLs of RDAP servers by domain (a top-level domain, or one below it), the preferred one first."""


@dataclass(slots=True)
class _Pace:
    """
    The rate limit towards one server.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    refuses_until: float = float("-inf")
    """Seconds of the monotonic clock until which the server gets no query: its Retry-After, or after
    silence."""
    silent: bool = False
    """True when it was silent then."""
    asked_at: float = float("-inf")
    """When it was last asked, in seconds of the event loop's clock."""


class Registries:
    """
    Looks up domains at all registries, with one rate limit for each server. One object for the process.
    """

    def __init__(self, network: Network, servers: Servers | None = None) -> None:
        self._network = network
        self._servers = servers or Servers()
        self._fetched: Services | None = None
        self._fetch_due = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._referrals: dict[str, str] = {}
        self._root = frozenset({Range.PUBLIC})
        """The range of the address of IANA's WHOIS server, for `refusal` of the servers that it names."""
        self._paces: dict[str, _Pace] = {}

    def close(self) -> None:
        """
        Cancel a fetch of the bootstrap file that is under way.
        """
        if self._fetching is not None:
            self._fetching.cancel()

    async def look_up(self, domain: str) -> Answer:
        """
        Look up a registrable domain, and return its registration as facts. Raises LookupFailedError.
        """
        services = await self._services(domain)
        urls = rdap_servers(services, domain)
        try:
            if urls:
                found = await self._ask_rdap(urls, domain)
            else:
                found = await self._ask_whois(domain)
        except RegistrationError as error:
            raise LookupFailedError(error.reason, error.detail) from None
        return Answer(registration.facts(found, self._network.clock()), AGAIN_AFTER)

    async def _services(self, domain: str) -> Services:
        """
        Return the RDAP servers by IANA's last bootstrap file, and begin to fetch a new one when it is due.

        Waits for that only when the shipped part has no server for the domain.
        """
        if self._fetching is None and self._network.monotonic() >= self._fetch_due:
            self._fetching = self._network.loop.create_task(self._fetch())
        fetching = self._fetching
        if fetching is not None and self._fetched is None and not rdap_servers(self._known(), domain):
            await asyncio.wait([fetching])
        return self._known()

    def _known(self) -> Services:
        return shipped() if self._fetched is None else self._fetched

    async def _fetch(self) -> None:
        """
        Fetch IANA's bootstrap file. The one in use stays when that fails.
        """
        url, begun = self._servers.bootstrap_url, self._network.monotonic()
        self._fetch_due = begun + BOOTSTRAP_RETRY
        try:
            answer = await download(self._network.resolver, url, BOOTSTRAP_LIMIT, trust=self._servers.trust)
            self._fetched = await _READING.run(partial(read_bootstrap, answer.body))
            self._fetch_due = begun + age(answer, self._network.clock())
        except (ProbeError, ValueError) as error:
            logger.warning(
                "the list of RDAP servers can't be fetched; the one before it, or the shipped one, is used",
                extra=fields(url=url, cause=str(error)),
            )
        finally:
            self._fetching = None

    async def _ask_rdap(self, urls: tuple[str, ...], domain: str) -> registration.Registration:
        """
        Return the registration by RDAP (RFC 9082 section 3.1.3). Raises LookupFailedError, RegistrationError.

        The next server is asked only when one can't be reached.
        """
        for position, base in enumerate(urls, start=1):
            try:
                async with self._turn(base):
                    answer = await download(
                        self._network.resolver,
                        f"{base}domain/{domain}",
                        RDAP_LIMIT,
                        timeout=RDAP_TIMEOUT,
                        headers={"Accept": "application/rdap+json, application/json;q=0.9"},
                        trust=self._servers.trust,
                    )
            except ProbeError as error:
                if position == len(urls) or error.reason is Reason.RATE_LIMITED:
                    raise
            else:
                return await self._rdap_answer(answer, base, domain)
        raise AssertionError("no RDAP server was named")  # pragma: no cover - the caller has one at least

    async def _rdap_answer(self, answer: Downloaded, base: str, domain: str) -> registration.Registration:
        if answer.status == 200:
            return await _READING.run(partial(rdap.from_rdap, answer.body, domain))
        if answer.status == 404:
            raise registration.not_registered(domain)
        wait = seconds_of(answer.retry_after, self._network.clock())
        wait = min(wait, LONGEST_WAIT) if wait is not None else None
        if answer.status == 429:
            detail = f"{base} wants to be asked less often from this address (status 429)"
            # Other domains of this registry do not ask before that either.
            self._paces[base].refuses_until = self._network.monotonic() + (wait or FIRST_PAUSE)
            raise LookupFailedError(Reason.RATE_LIMITED, detail, wait)
        detail = f"{base} answered with status {answer.status} when asked for {domain}"
        raise LookupFailedError(Reason.HTTP_FAILED, detail, wait)

    @contextlib.asynccontextmanager
    async def _turn(self, server: str) -> AsyncIterator[None]:
        """
        Hold the only turn to ask this server, after the gap to the query before.

        Raises LookupFailedError while the server wants no queries.
        """
        pace = self._paces.setdefault(server, _Pace())
        async with pace.turn:
            wait = pace.refuses_until - self._network.monotonic()
            if wait > 0:
                reason = Reason.TIMEOUT if pace.silent else Reason.RATE_LIMITED
                did = "did not answer us" if pace.silent else "refused us"
                detail = f"{server} {did} lately and is left alone for another {wait:.0f} s"
                raise LookupFailedError(reason, detail, wait)
            since = self._network.loop.time() - pace.asked_at
            await asyncio.sleep(max(0.0, self._servers.gap - since))
            begun, pace.silent = self._network.loop.time(), False
            try:
                yield
            except (ProbeError, OSError):
                if self._network.loop.time() - begun >= SILENCE:
                    pace.silent, pace.refuses_until = True, self._network.monotonic() + FIRST_PAUSE
                raise
            finally:
                pace.asked_at = self._network.loop.time()

    async def _ask_whois(self, domain: str) -> registration.Registration:
        """
        Return the registration by WHOIS. Raises LookupFailedError or RegistrationError.
        """
        top = domain.rpartition(".")[2]
        server = self._servers.whois_servers.get(top)
        # WHOIS is clear text: a server that only such an answer names must not lead into a private network.
        referred = server is None
        server = server or self._referrals.get(top)
        if server is None:
            server = whois.whois_referral(await self._whois(self._servers.whois_root, top))
            if server is None:
                detail = f"the registry of .{top} has neither an RDAP nor a WHOIS server that IANA knows of"
                raise LookupFailedError(Reason.LOOKUP_FAILED, detail)
            self._referrals[top] = server
        try:
            query = WHOIS_QUERIES.get(top, "{}").format(domain)
            text = await self._whois(server, query, referred=referred)
        except LookupFailedError:
            # It may have moved.
            self._referrals.pop(top, None)
            raise
        return await _READING.run(partial(whois.from_whois, text, domain))

    async def _whois(self, server: str, query: str, *, referred: bool = False) -> str:
        """
        Return the answer of a WHOIS server (RFC 3912) as text.

        `referred` servers were named by another one: those in a private network are not asked. Raises
        LookupFailedError.
        """
        place = f"the WHOIS server {server}, port {self._servers.whois_port}"
        try:
            async with self._turn(server), asyncio.timeout(WHOIS_TIMEOUT):
                data = await self._converse(server, query, referred=referred)
        except TimeoutError:
            detail = f"{place} did not answer in {WHOIS_TIMEOUT:g} s; a firewall may drop the connection"
            raise LookupFailedError(Reason.TIMEOUT, detail) from None
        except LookupFailedError:
            # It is left alone, and was not asked.
            raise
        except ProbeError as error:
            raise LookupFailedError(Reason.LOOKUP_FAILED, f"{place}: {error.detail}") from None
        except OSError as error:
            detail = f"{place} can't be reached: {error.strerror or error}"
            raise LookupFailedError(Reason.LOOKUP_FAILED, detail) from None
        if len(data) > WHOIS_LIMIT:
            detail = f"{place} answers with more than {WHOIS_LIMIT:,} bytes"
            raise LookupFailedError(Reason.LOOKUP_FAILED, detail)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            # Dates are ASCII wherever names are not.
            return data.decode("latin-1")

    async def _converse(self, server: str, query: str, *, referred: bool) -> bytes:
        addresses = await self._network.resolver.resolve(server, socket.AF_UNSPEC, WHOIS_TIMEOUT)
        # IPv4 first: a host without IPv6 would wait for nothing.
        address = min(addresses, key=lambda one: one.version)
        if server == self._servers.whois_root:
            self._root = frozenset({range_of(address)})
        if referred and (why := refusal(address, self._root)):
            raise ProbeError(
                Reason.LOOKUP_FAILED, f"it is not asked: it has {why}, and who named it is not there"
            )
        reader, writer = await asyncio.open_connection(str(address), self._servers.whois_port)
        try:
            writer.write(f"{query}\r\n".encode("ascii"))
            data = bytearray()
            while len(data) <= WHOIS_LIMIT and (chunk := await reader.read(65536)):
                data += chunk
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return bytes(data)


def age(answer: Downloaded, now: float) -> float:
    """
    Return the seconds for which a bootstrap file may be used (RFC 9111 section 5), within BOOTSTRAP_AGE.
    """
    lifetime: float | None = None
    found = re.search(r"\bmax-age=(\d{1,9})\b", answer.headers.get("Cache-Control", ""))
    if found is not None:
        lifetime = float(found[1])
    elif "Expires" in answer.headers:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            lifetime = parsedate_to_datetime(answer.headers["Expires"]).timestamp() - now
    shortest, longest = BOOTSTRAP_AGE
    return min(max(lifetime or shortest, shortest), longest)


def read_bootstrap(data: bytes) -> Services:
    """
    Parse the RDAP servers in a bootstrap file (RFC 9224). Raises ValueError when it is not one.
    """
    try:
        document = foreign_json.loads(data)
        found: dict[str, tuple[str, ...]] = {}
        for entry in document["services"]:
            names, urls = _texts(entry[0]), _texts(entry[1])
            # HTTPS first (RFC 9224 section 4); a path without a slash at its end would lose its last part.
            web = [url for url in urls if re.fullmatch(r"https?://\S+", url)]
            bases = tuple(
                f"{url.rstrip('/')}/" for url in sorted(web, key=lambda url: url.startswith("http:"))
            )
            found.update((name.lower().strip("."), bases) for name in names if bases)
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"not a bootstrap file of RFC 9224: {type(error).__name__} {error}") from None
    if not found:
        raise ValueError("a bootstrap file of RFC 9224 that names no server")
    return MappingProxyType(found)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return [one for one in value if isinstance(one, str)]


@lru_cache(maxsize=1)
def shipped() -> Services:
    """
    Return the shipped part of IANA's bootstrap file.
    """
    return read_bootstrap(resources.files("exporter").joinpath("rdap.json").read_bytes())


def rdap_servers(services: Services, domain: str) -> tuple[str, ...]:
    """
    Return the RDAP servers for a domain: those of the longest suffix (RFC 9224 section 4); often none.
    """
    labels = domain.split(".")
    names = (".".join(labels[position:]) for position in range(len(labels)))
    return next((services[name] for name in names if name in services), ())


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    # Only what registries sell below: nobody registers `example.github.io`.
    return PublicSuffixList(only_icann=True)


def registrable(host: str) -> str | None:
    """
    Return the registrable domain of a name: `example.co.uk` for `www.example.co.uk`.

    None when the name is itself a public suffix.
    """
    found = _suffixes().privatesuffix(host)
    return str(found) if found else None
