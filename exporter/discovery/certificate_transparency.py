"""
Source `certificate_transparency`: names on valid certificates in public logs, by crt.sh or Cert Spotter, and
what was issued for them.

Both are slow, and refuse much. So a domain's answer is kept for hours, and its last one while there is none.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from exporter.config.sources import TransparencySource
from exporter.discovery.base import Context, Found, Listing, Source, SourceError, in_part
from exporter.discovery.issuances import LIMIT, bounded, from_json, merged, to_json
from exporter.discovery.log_answers import TEXT_LIMIT, Certificate, of_cert_spotter, of_crt_sh
from exporter.discovery.threads import in_thread
from exporter.model.destinations import is_of_each_host
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean
from exporter.model.hosts import TargetError, normal_host
from exporter.model.issuance import Issuance
from exporter.net.http import download, shown
from exporter.net.regular_files import read
from exporter.pki.renewal_information import seconds_of

INTERVAL = 6 * 3600.0


FRESH = 4 * 3600.0
"""Seconds for which a domain is not asked for again, however often the source runs."""


ANSWER_TIMEOUT = 90.0
"""Seconds that one answer may take. crt.sh needs a minute for a large domain."""


RUN = 900.0
"""Seconds after which a run asks for nothing more. The next one goes on."""


SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes of one answer."""


PAGES = 200
"""Pages of one domain in one run."""


NAMES_LIMIT = 10_000
"""Names of one entry. While no name server answers, looking them up takes 40 minutes."""


LONGEST_WAIT = 86400.0
"""Seconds: a server that asks for a longer pause is asked again after these."""


TOKEN_LIMIT = 64 * 1024


NAME_LIMIT = 300
"""Characters of a name that are kept: a longer one is no host name anyway."""


ISSUED = 4
"""Where what was issued stands in what is remembered of a domain."""


URLS = {"crt.sh": "https://crt.sh/", "certspotter": "https://api.certspotter.com/v1/issuances"}


class _NoAnswerError(Exception):
    """
    A server did not answer as it should.
    """

    def __init__(self, words: str, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(words)
        self.refused = status in {429, 503}
        """True: it wants to be left alone, for any domain."""
        self.wait = wait
        """Seconds for which it asks not to be asked."""


class _Seen(NamedTuple):
    """
    The certificate of a name that is valid longest.
    """

    end: float
    issuer: str
    number: str


@dataclass(slots=True)
class _Domain:
    """
    The certificates and names that logs know of a registered domain, and when they were asked.
    """

    asked: float = 0.0
    """When its answer was last complete, in seconds since the epoch."""
    tried: float = 0.0
    """When it was last asked for."""
    after: str = ""
    """The last certificate of Cert Spotter's answers so far: the next question goes on from it."""
    names: dict[str, _Seen] = field(default_factory=dict)
    """By name as on the certificate, in lower case, wildcards too."""
    issued: list[Issuance] = field(default_factory=list)
    """The newest certificates with each set of names, the newest first."""


async def run(settings: TransparencySource, context: Context) -> Listing:
    """
    Ask for what was not asked for in the last hours, and return the names that resolve. Raises SourceError.
    """
    server = settings.url or URLS[settings.source]
    place = (settings.source, server)
    headers = await in_thread(lambda: _headers(settings))
    known = await in_thread(lambda: _remembered(context.remembered, place, settings.domains))
    notes: dict[str, None] = {}
    rows = await in_thread(lambda: {name: _row(one) for name, one in known.items() if one.tried})
    context.so_far(lambda: {"place": list(place), "domains": dict(rows)})
    due = [name for name, one in known.items() if not 0 <= context.now - one.asked < FRESH]
    due.sort(key=lambda name: known[name].tried)
    failures: list[str] = []
    wait, begun = 0.0, context.network.monotonic()
    ask = _ask_crt_sh if settings.source == "crt.sh" else _ask_cert_spotter
    for number, name in enumerate(due):
        if context.network.monotonic() - begun > RUN:
            left = len(due) - number
            notes[f"domains that are not asked for yet: {left}; the next run goes on with them"] = None
            break
        context.progress(f"certificate transparency: {name}, {number + 1} of {len(due)}")
        known[name].tried = context.now
        try:
            room = NAMES_LIMIT - sum(len(one.names) for key, one in known.items() if key != name)
            await ask(_Question(name, known[name], room, server, headers, context, notes))
        except _NoAnswerError as error:
            failures.append(f"{name}: {error}")
            wait = max(wait, error.wait)
            if error.refused:
                break
        rows[name] = await in_thread(partial(_row, known[name]))
    for one in known.values():
        one.names = {name: seen for name, seen in one.names.items() if seen.end > context.now}
    await in_thread(lambda: _keep_newest(known, context.now, notes))
    named = await in_thread(lambda: tuple(_found(known, settings.source, notes)))
    listing = Listing(named=named, notes=tuple(notes), remember=_to_remember(known, place))
    if failures:
        there = any(one.names for one in known.values())
        raise in_part(failures, listing if there else None, wait)
    return listing


def _headers(settings: TransparencySource) -> dict[str, str]:
    """
    Return the headers of the requests. Raises SourceError.
    """
    if settings.token_file is None:
        return {}
    try:
        data, _ = read(settings.token_file, TOKEN_LIMIT)
    except ProbeError as error:
        raise SourceError(error.detail) from None
    token = data.decode("utf-8", "replace").strip()
    if not token.isascii() or not token.isprintable() or not token:
        raise SourceError(f"{settings.token_file} must hold one line: the token")
    return {"Authorization": f"Bearer {token}"}


def _remembered(value: Any, place: tuple[str, str], domains: Iterable[str]) -> dict[str, _Domain]:
    """
    Return what is known of each domain: what was remembered, as far as it is of this server and version.
    """
    known = {domain: _Domain() for domain in domains}
    if not isinstance(value, dict) or value.get("place") != list(place):
        return known
    for domain in known:
        try:
            asked, tried, after, names, *issued = value["domains"][domain]
            known[domain] = _Domain(
                # An older version did not keep what was issued: it is asked for again, from the beginning.
                float(asked) if issued else 0.0,
                float(tried),
                str(after) if issued else "",
                {
                    str(name): _Seen(float(end), str(issuer), str(number))
                    for name, (end, issuer, number, *_) in names.items()
                },
                list(from_json(issued[0])) if issued else [],
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return known


def _to_remember(known: Mapping[str, _Domain], place: tuple[str, str]) -> Any:
    return {"place": list(place), "domains": {name: _row(one) for name, one in known.items() if one.tried}}


def _row(one: _Domain) -> list[Any]:
    """
    Return what is to be remembered of a domain, as JSON has it.
    """
    names = {key: list(seen) for key, seen in one.names.items()}
    return [one.asked, one.tried, one.after, names, to_json(one.issued)]


def _keep_newest(known: Mapping[str, _Domain], now: float, notes: dict[str, None]) -> None:
    """
    Forget what was issued and is over, and the oldest of too many.
    """
    domain_of = {one: domain for domain in known.values() for one in merged(domain.issued)}
    kept, left_out = bounded(domain_of, now)
    for domain in known.values():
        domain.issued = []
    for one in kept:
        domain_of[one].issued.append(one)
    if left_out:
        notes[f"certificates that are not compared with what is served: {left_out:,}, the oldest ones"] = None


def _issuances(remembered: Any) -> tuple[Issuance, ...]:
    """
    Return what was issued, by what the last run remembers; nothing if that is of another version.
    """
    try:
        domains = [one for one in remembered["domains"].values() if len(one) > ISSUED]
        return tuple(merged(issuance for one in domains for issuance in from_json(one[ISSUED])))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()


class _Question(NamedTuple):
    """
    One domain, and what is needed to ask for it.
    """

    name: str
    domain: _Domain
    room: int
    """Names that it may have."""
    server: str
    headers: Mapping[str, str]
    context: Context
    notes: dict[str, None]


async def _ask_crt_sh(question: _Question) -> None:
    """
    Take crt.sh's answers, which are whole ones. Raises _NoAnswerError.

    Of a certificate it lists the names that fit the question: those below the domain do not include it.
    """
    domain = question.domain
    certificates: list[Certificate] = []
    for names in (f"%.{question.name}", question.name):
        query = {"q": names, "output": "json", "exclude": "expired", "deduplicate": "Y"}
        certificates += await _answer(question, query, of_crt_sh)
    domain.names, domain.issued = {}, []
    await in_thread(lambda: _take(question, certificates))
    domain.asked = question.context.now


async def _ask_cert_spotter(question: _Question) -> None:
    """
    Take the pages of Cert Spotter that are new. What was read stays when a later one fails. Raises
    _NoAnswerError.
    """
    domain = question.domain
    query = {"domain": question.name, "include_subdomains": "true"}
    for _ in range(PAGES):
        after = {"after": domain.after} if domain.after else {}
        more = [*query.items(), ("expand", "dns_names"), ("expand", "issuer"), *after.items()]
        certificates = await _answer(question, more, of_cert_spotter)
        if not certificates or certificates[-1].number == domain.after:
            domain.asked = question.context.now
            return
        await in_thread(partial(_take, question, certificates))
        domain.after = certificates[-1].number
    question.notes[f"{question.name}: more than {PAGES} pages: the next run goes on with them"] = None


async def _answer(
    question: _Question,
    query: Mapping[str, str] | list[tuple[str, str]],
    parse: Callable[[bytes], list[Certificate]],
) -> list[Certificate]:
    """
    Return the certificates that a server answers with. Raises _NoAnswerError.
    """
    where = shown(question.server)
    url = f"{question.server}{'&' if '?' in question.server else '?'}{urlencode(query)}"
    try:
        got = await download(
            question.context.network.resolver,
            url,
            SIZE_LIMIT,
            timeout=ANSWER_TIMEOUT,
            headers={"Accept": "application/json", **question.headers},
        )
    except ProbeError as error:
        raise _NoAnswerError(error.detail) from None
    if got.status != 200:
        wait = min(seconds_of(got.retry_after, question.context.now) or 0.0, LONGEST_WAIT)
        hint = {401: ": check `token_file`", 403: ": check `token_file`", 429: ", too many requests"}
        words = f"{where} answered with status {got.status}{hint.get(got.status, '')}"
        raise _NoAnswerError(words, got.status, wait)
    try:
        return await in_thread(lambda: parse(got.body))
    except (ValueError, RecursionError):
        raise _NoAnswerError(f"{where} answered with something that is no list of certificates") from None


def _take(question: _Question, certificates: Iterable[Certificate]) -> None:
    """
    Add the names of certificates that are still valid. Of those with the same name, the longest valid counts.
    """
    names = question.domain.names
    for certificate in certificates:
        if certificate.end <= question.context.now:
            continue
        if certificate.issuance is not None:
            question.domain.issued.append(certificate.issuance)
        for text in certificate.names:
            name = text.strip().removesuffix(".").lower()
            if name != question.name and not name.endswith(f".{question.name}"):
                continue
            name = name[:NAME_LIMIT]
            old = names.get(name)
            if old is not None and old.end >= certificate.end:
                continue
            if old is None and len(names) >= question.room:
                words = f"{question.name}: more than {NAMES_LIMIT:,} names in all: the others are left out"
                question.notes[words] = None
                continue
            names[name] = _Seen(certificate.end, certificate.issuer, certificate.number)
    if len(question.domain.issued) > LIMIT:
        question.domain.issued, _ = bounded(question.domain.issued, question.context.now)


def _found(known: Mapping[str, _Domain], source: str, notes: dict[str, None]) -> list[Found]:
    """
    Return the names that hosts can have; note all others.
    """
    passed: dict[str, list[str]] = defaultdict(list)
    found: dict[str, Found] = {}
    for one in known.values():
        for host, name in _hosts(one.names, passed).items():
            seen = one.names[name]
            until = datetime.fromtimestamp(seen.end, UTC).date().isoformat()
            why = f"on a certificate by {seen.issuer} until {until}: number {seen.number} at {source}"
            found[host] = Found(f"https://{host}", why)
    for why, names in sorted(passed.items()):
        notes[f"{why}: {len(names):,}, such as {clean(min(names), TEXT_LIMIT)}"] = None
    return [found[host] for host in sorted(found)]


def _hosts(names: Iterable[str], passed: dict[str, list[str]]) -> dict[str, str]:
    """
    Return the names that a host can have, in A-labels, each with what it is on the certificate.
    """
    hosts: dict[str, str] = {}
    for name in names:
        if "*" in name:
            passed["wildcards, which can't be asked for"].append(name)
        elif "_" in name:
            passed["names with an underscore, which no host has"].append(name)
        elif is_of_each_host(name):
            passed["localhost, which is another host for each client"].append(name)
        else:
            try:
                hosts[normal_host(name)] = name
            except TargetError:
                passed["entries that are not host names"].append(name)
    return hosts


SOURCE = Source("certificate_transparency", INTERVAL, run, _issuances, by_place=True, history=True)
