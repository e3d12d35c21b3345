"""
What the issuers of presented certificates say: revocations, and when they want them renewed.

A staple is judged as it comes. Revocation lists, OCSP responders and ACME servers are asked in the
background, so a first look does not have their answers. While a question fails, the last answer stays.
"""

from functools import partial
from urllib.parse import urlsplit

from exporter import renewal_information as ari
from exporter.anchors import AnchorFiles
from exporter.destinations import Range, host_range
from exporter.downloads import Downloaded, download, shown
from exporter.files import Outcome
from exporter.lookups import Answer, Heard, LookupFailedError, lookups
from exporter.network import Network, ProbeError
from exporter.observation import (
    Certificate,
    Chain,
    Facts,
    FailedLookup,
    Fault,
    FoundFault,
    Item,
    Kind,
    Lookup,
    Reason,
    Renewal,
)
from exporter.pools import Pool
from exporter.probes.additions import added, renewed
from exporter.revocation import (
    URL_LIMIT,
    OcspAnswer,
    RevocationError,
    RevocationList,
    issued,
    judge_answer,
    judge_staple,
    loaded,
    must_staple,
    outdated,
    pointers,
    read_list,
    read_response,
    request,
    revoked,
    unreadable_staple,
)
from exporter.targets import Target
from exporter.trust import TrustStore

LIST_LIMIT = 20_000_000
"""Bytes of a revocation list: some of public authorities have ten million."""

ANSWER_LIMIT = 100_000
"""Bytes of an OCSP response, an ACME directory or a renewal window; usual are some hundred or thousand."""

LIST_TIMEOUT = 60.0
"""Seconds that the download of a revocation list may take."""

URLS = 3
"""Places of one revocation list that are tried."""

SHORTEST_PAUSE = 600.0
LONGEST_PAUSE = 86400.0
"""Seconds between two looks at the same list or responder, at least and at most."""

PLACES_LIMIT = 20_000
"""Leaves at other than public addresses of which it is remembered where they were seen."""

ANCHORS_AGE = 60.0
"""Seconds after which files of trust anchors are looked at again."""

ROUNDED_UP = 1 / 0.9
"""Look-ups are spread by a tenth to both sides. With this, none comes before the server wants it."""

_READING = Pool("revocation lists", 2)


class Authorities:
    """
    Issuers by what they issued, and what was known of them before a restart. One for the life of the process.
    """

    def __init__(self, network: Network) -> None:
        self._loop = network.loop
        self._files = AnchorFiles()
        self._begun = float("-inf")
        self._before: dict[str, Facts] = {}
        self._places: dict[str, frozenset[Range]] = {}

    def close(self) -> None:
        """
        Nothing is open.
        """

    def issuer(self, certificate: Certificate, chain: Chain, target: Target) -> Certificate | None:
        """
        Who issued it, of the presented certificates or the target's trust anchors; None when neither has it.
        """
        for other in chain.certificates:
            if other.subject == certificate.issuer and issued(certificate.der, other.der):
                return other
        now = self._loop.time()
        if now - self._begun > ANCHORS_AGE:
            self._files.begin()
            self._begun = now
        store = self._files.anchors(target.ca_file).store
        return _anchor(certificate.der, certificate.issuer, store) if store is not None else None

    def seen_at(self, facts: Facts, host: str) -> None:
        """
        Note where the leaves of a look were found: what they name may be near that, and nowhere else.
        """
        place = host_range(host.partition("%")[0])
        if place is Range.PUBLIC:
            # As is taken of all that nothing is noted of.
            return
        for chain in facts.chains:
            leaf = chain.leaf.fingerprint_sha256
            # To the end: the one not seen for longest is forgotten first.
            self._places[leaf] = self._places.pop(leaf, frozenset()) | {place}
        while len(self._places) > PLACES_LIMIT:
            del self._places[next(iter(self._places))]

    def places(self, leaf: Certificate) -> frozenset[Range]:
        """
        At what kinds of addresses a leaf was seen that are not public.
        """
        return self._places.get(leaf.fingerprint_sha256, frozenset())

    def restore(self, facts: Facts) -> None:
        """
        Take back what was known of the certificates in these facts, until their issuers are heard.
        """
        for chain in facts.chains:
            self._before[chain.leaf.fingerprint_sha256] = facts
        for item in facts.items:
            # In files most leaves stand alone.
            if item.renewal is not None and item.certificate is not None:
                self._before.setdefault(item.certificate.fingerprint_sha256, facts)

    def before(self, leaf: Certificate) -> Facts | None:
        """
        What was known of a certificate before the process was started; None when nothing was.
        """
        return self._before.get(leaf.fingerprint_sha256)


def _anchor(der: bytes, issuer: str, store: TrustStore) -> Certificate | None:
    fitting = (anchor for anchor in store.anchors if anchor.subject == issuer)
    return next((anchor for anchor in fitting if issued(der, anchor.der)), None)


def authorities(network: Network) -> Authorities:
    """
    The authorities of the process.
    """
    return network.resource(Authorities, lambda: Authorities(network))


def staple(facts: Facts, target: Target, network: Network) -> Facts:
    """
    With the stapled response of each handshake as item `staple`, and what is wrong with it.

    No staple says nothing, unless the certificate demands one.
    """
    if facts.tls is None:
        return facts
    items: list[Item] = []
    faults: list[FoundFault] = []
    for chain in facts.chains:
        leaf = chain.leaf
        if chain.staple is None:
            if must_staple(leaf.der):
                words = (
                    "The certificate demands a stapled OCSP response (must-staple), and the server sent none."
                )
                faults.append(FoundFault(Fault.STAPLE_MISSING, words))
            continue
        issuer = authorities(network).issuer(leaf, chain, target)
        if issuer is None:
            # Whose signature it should bear is not known; that the chain lacks it is found elsewhere.
            faults += unreadable_staple(chain.staple)
            continue
        judged = judge_staple(chain.staple, _called("staple", chain), leaf.der, issuer.der)
        items += [judged.item] if judged.item is not None else []
        faults += [*judged.faults, *outdated(judged.item, leaf.der, network.clock())]
    return added(facts, tuple(items), tuple(faults))


def revocation_lists(facts: Facts, target: Target, network: Network) -> Facts:
    """
    With the leaf's revocation list as item `crl`, and what the lists say of the certificates presented.
    """
    if not target.crl:
        return facts
    items: list[Item] = []
    faults: list[FoundFault] = []
    unanswered: list[FailedLookup] = []
    for chain in facts.chains:
        name = _called("crl", chain)
        for certificate in chain.certificates:
            heard = _list(certificate, chain, target, network)
            stands = heard.known is not None
            if not stands and certificate is chain.leaf:
                stands = _keep(name, chain.leaf, network, items, faults)
            if heard.failure is not None:
                unanswered.append(_failed(Lookup.CRL, heard.failure, stands=stands))
            if heard.known is None:
                continue
            found: RevocationList = heard.known.value
            if certificate is chain.leaf and found.next_update is not None:
                items.append(Item(name, Kind.CRL, found.this_update, found.next_update))
            reason = found.reason(certificate)
            if reason is not None:
                which = (
                    "the certificate"
                    if certificate is chain.leaf
                    else f"{certificate.subject}, of its chain,"
                )
                faults.append(revoked("The issuer's revocation list", reason, which))
    return added(facts, tuple(items), tuple(faults), unanswered=unanswered)


def responder(facts: Facts, target: Target, network: Network) -> Facts:
    """
    With the answer of the leaf's OCSP responder as item `ocsp`, and that the leaf is revoked if it says so.
    """
    if not target.ocsp:
        return facts
    items: list[Item] = []
    faults: list[FoundFault] = []
    unanswered: list[FailedLookup] = []
    for chain in facts.chains:
        leaf, name = chain.leaf, _called("ocsp", chain)
        heard = _answer(leaf, chain, target, network)
        stands = heard.known is not None or _keep(name, leaf, network, items, faults)
        if heard.failure is not None:
            unanswered.append(_failed(Lookup.OCSP, heard.failure, stands=stands))
        if heard.known is None:
            continue
        judged = judge_answer(heard.known.value, name, "The issuer's OCSP responder")
        items += [judged.item] if judged.item is not None else []
        faults += judged.faults
    return added(facts, tuple(items), tuple(faults), unanswered=unanswered)


def renewal_information(facts: Facts, target: Target, network: Network) -> Facts:
    """
    With the time at which their issuers want the leaves renewed, where an issuer's ACME server is known.

    Leaves are what servers present, and what lies in files. A time that is known by now stays: whoever
    manages a certificate (cert-manager) knows best when it will do it.
    """
    if not target.renewal_information:
        return facts
    renewals: list[tuple[str, Renewal]] = []
    unanswered: list[FailedLookup] = []
    for item in facts.items:
        leaf = item.certificate
        if item.kind is not Kind.LEAF or leaf is None or item.renewal is not None:
            continue
        directory = target.acme.get(leaf.issuer_organization)
        if directory is None:
            continue
        window, failure = _window(leaf, directory, target, network)
        if window is not None:
            renewals.append((leaf.fingerprint_sha256, window))
        if failure is not None:
            stands = window is not None
            unanswered.append(_failed(Lookup.RENEWAL_INFORMATION, failure, stands=stands))
    return added(renewed(facts, tuple(renewals)), unanswered=unanswered)


def renewals_of(outcome: Outcome, target: Target, network: Network) -> Outcome:
    """
    The outcome of a look at a file, or the like, with the same.
    """
    if isinstance(outcome, Facts):
        return renewal_information(outcome, target, network)
    if not isinstance(outcome, ProbeError) or outcome.facts is None:
        return outcome
    facts = renewal_information(outcome.facts, target, network)
    return outcome if facts is outcome.facts else ProbeError(outcome.reason, outcome.detail, facts)


def _called(name: str, chain: Chain) -> str:
    """
    The name of an item that belongs to a chain.
    """
    return f"{name}-{chain.key}" if chain.key else name


def _failed(lookup: Lookup, failure: LookupFailedError, *, stands: bool) -> FailedLookup:
    return FailedLookup(lookup, failure.reason, failure.detail, stands)


def _keep(
    name: str, leaf: Certificate, network: Network, items: list[Item], faults: list[FoundFault]
) -> bool:
    """
    Add what was known of a leaf before a restart, since its issuer was not heard yet. False: nothing was.
    """
    before = authorities(network).before(leaf)
    if before is None:
        return False
    kept = [item for item in before.items if item.name == name]
    found = [found for found in before.faults if found.fault is Fault.REVOKED]
    items += kept
    faults += found
    return bool(kept or found)


def _list(certificate: Certificate, chain: Chain, target: Target, network: Network) -> Heard:
    """
    What is known of the revocation list for a certificate, a `RevocationList`; nothing when it names none.
    """
    if certificate.self_issued:
        return Heard()
    found = pointers(certificate.der)
    urls = found.crl_urls[:URLS]
    what = f"the revocation list {shown(urls[0]) if urls else found.crl_elsewhere}"
    if not urls and not found.crl_elsewhere:
        return Heard()
    issuer = authorities(network).issuer(certificate, chain, target) if urls else None
    if issuer is None:
        return _not_asked(Lookup.CRL, certificate, what, target, network, has_urls=bool(urls))
    # By the issuer's key: another authority may name the same place, and its signature would not fit.
    # And by where it was seen: what an internal server may name, another's certificate may not.
    own = authorities(network).places(chain.leaf)
    key = ("crl", urls, issuer.subject, issuer.public_key_sha256, own)
    return lookups(network).hear(key, partial(_get_list, network, urls, issuer, own), what, target.name)


def _answer(leaf: Certificate, chain: Chain, target: Target, network: Network) -> Heard:
    """
    What is known from the responder that a leaf names, an `OcspAnswer`; nothing when it names none.
    """
    found = pointers(leaf.der)
    urls = found.ocsp_urls
    what = f"the OCSP responder {shown(urls[0]) if urls else found.ocsp_elsewhere}"
    if not urls and not found.ocsp_elsewhere:
        return Heard()
    issuer = authorities(network).issuer(leaf, chain, target) if urls else None
    if issuer is None:
        return _not_asked(Lookup.OCSP, leaf, what, target, network, has_urls=bool(urls))
    own = authorities(network).places(leaf)
    key = ("ocsp", urls[0], leaf.fingerprint_sha256, own)
    ask = partial(_ask_responder, network, urls[0], leaf, issuer, own)
    return lookups(network).hear(key, ask, what, target.name)


def _not_asked(
    lookup: Lookup, certificate: Certificate, what: str, target: Target, network: Network, *, has_urls: bool
) -> Heard:
    """
    Why a list or a responder that a certificate names is not asked: its issuer is not known, or the URL is
    not one that is asked.
    """
    if has_urls:
        why = "the issuer is neither presented nor among the trust anchors, so nothing can be verified"
    else:
        why = f"only http URLs of at most {URL_LIMIT} characters are asked"
    key = ("not asked", lookup, certificate.fingerprint_sha256, has_urls)
    return lookups(network).refuse(key, f"{what} is not asked: {why}", what, target.name)


async def _get_list(
    network: Network, urls: tuple[str, ...], issuer: Certificate, own: frozenset[Range]
) -> Answer:
    """
    The list at the first of the URLs that has a good one. Raises LookupFailedError.
    """
    failure: LookupFailedError | None = None
    for url in urls:
        try:
            got = _good(await download(url, LIST_LIMIT, timeout=LIST_TIMEOUT, own=own), url, network)
            found = await _READING.run(partial(read_list, got.body, loaded(issuer.der), url))
        except LookupFailedError as error:
            failure = failure or error
        except RevocationError as error:
            words = f"what {shown(url)} gives is no revocation list to go by: {error}"
            failure = failure or LookupFailedError(Reason.FORMAT_BROKEN, words)
        else:
            return Answer(found, again(found.next_update, network.clock()), len(found.rows))
    assert failure is not None
    raise failure


async def _ask_responder(
    network: Network, url: str, leaf: Certificate, issuer: Certificate, own: frozenset[Range]
) -> Answer:
    """
    What an OCSP responder says of a certificate. Raises LookupFailedError.
    """
    try:
        got = await download(
            url,
            ANSWER_LIMIT,
            body=request(leaf.der, issuer.der),
            headers={"Content-Type": "application/ocsp-request"},
            own=own,
        )
        answer: OcspAnswer = read_response(_good(got, url, network).body, leaf.der, issuer.der)
    except RevocationError as error:
        words = f"what the OCSP responder {shown(url)} answers is no good: {error}"
        raise LookupFailedError(Reason.FORMAT_BROKEN, words) from None
    if not answer.known:
        words = f"the OCSP responder {shown(url)} does not know the certificate {leaf.serial}"
        raise LookupFailedError(Reason.LOOKUP_FAILED, words)
    return Answer(answer, again(answer.next_update, network.clock()))


def again(next_update: float | None, now: float) -> float:
    """
    Seconds until a list or a responder is looked at again: more often when its end comes near.

    The next one is out before this one ends. It is to be seen before somebody is told that it is late.
    """
    left = LONGEST_PAUSE if next_update is None else next_update - now
    return min(max(left / 8, SHORTEST_PAUSE), LONGEST_PAUSE)


def _good(got: Downloaded, url: str, network: Network) -> Downloaded:
    """
    The answer, if its status is 200. Raises LookupFailedError.
    """
    if got.status == 200:
        return got
    reason = Reason.RATE_LIMITED if got.status == 429 else Reason.HTTP_FAILED
    wait = ari.seconds_of(got.retry_after, network.clock())
    # A server can't keep us away for longer than this.
    wait = None if wait is None else min(wait, LONGEST_PAUSE)
    raise LookupFailedError(reason, f"{shown(url)} answered with HTTP status {got.status}", wait)


def _window(
    leaf: Certificate, directory: str, target: Target, network: Network
) -> tuple[Renewal | None, LookupFailedError | None]:
    """
    When the issuer with this ACME directory wants the leaf renewed, None while that is not known; and why the
    last question about it failed, None if it did not.
    """
    identifier = ari.certificate_id(leaf.der)
    if identifier is None:
        return None, None
    asked = lookups(network)
    key = ("renewal information", directory, identifier)
    before = authorities(network).before(leaf)
    kept = next((one.renewal for one in before.items if one.certificate == leaf), None) if before else None
    failure: LookupFailedError | None = None
    if network.clock() < leaf.not_after:
        found = asked.hear(
            ("ACME directory", directory),
            partial(_get_directory, network, directory),
            f"the ACME directory {shown(directory)}",
            target.name,
        )
        if found.known is None:
            failure = found.failure
        elif found.known.value:
            url = ari.question(found.known.value, identifier)
            ask = partial(_get_window, network, url, key, kept, _own(url, directory))
            failure = asked.hear(key, ask, f"the renewal information {shown(url)}", target.name).failure
    # An expired one is not asked for any more (RFC 9773 section 4.3), and what was said of it stays.
    known = asked.known(key)
    window: Renewal | None = known.value if known is not None else kept
    return window, failure


async def _get_directory(network: Network, directory: str) -> Answer:
    """
    Where an ACME server gives renewal information; empty when it does not. Raises LookupFailedError.
    """
    got = _good(await download(directory, ANSWER_LIMIT), directory, network)
    try:
        place = ari.read_directory(got.body, directory)
    except ari.RenewalInformationError as error:
        words = f"what {shown(directory)} gives is no ACME directory to go by: {error}"
        raise LookupFailedError(Reason.FORMAT_BROKEN, words, ari.USUAL_PAUSE) from None
    return Answer(place, ari.LONGEST_PAUSE)


def _own(url: str, directory: str) -> frozenset[Range] | None:
    """
    Where a URL may lead that an ACME directory names: on the directory's own host anywhere, which is None.
    """
    host, named = urlsplit(directory).hostname or "", urlsplit(url).hostname
    return None if named == host else frozenset({host_range(host)})


async def _get_window(
    network: Network,
    url: str,
    key: tuple[str, str, str],
    kept: Renewal | None,
    own: frozenset[Range] | None,
) -> Answer:
    """
    The window in which a certificate is to be renewed; None if the server has none for it, and never had.

    Raises LookupFailedError.
    """
    got = await download(url, ANSWER_LIMIT, own=own)
    known = lookups(network).known(key)
    had = known.value if known is not None else kept
    if 400 <= got.status < 500 and got.status not in {408, 429}:
        if had is None:
            # It was issued in another way than by ACME, as many of the same authority are: no failure.
            return Answer(None, ari.USUAL_PAUSE)
        words = f"{shown(url)} answered with HTTP status {got.status}, and gave a window before"
        raise LookupFailedError(Reason.HTTP_FAILED, words, ari.USUAL_PAUSE)
    try:
        window = ari.read_window(_good(got, url, network).body)
    except ari.RenewalInformationError as error:
        words = f"what {shown(url)} gives is no renewal information to go by: {error}"
        raise LookupFailedError(Reason.FORMAT_BROKEN, words, ari.USUAL_PAUSE) from None
    return Answer(window, ari.pause(got.retry_after, network.clock()) * ROUNDED_UP)
