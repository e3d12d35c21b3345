"""
ACME Renewal Information: the time at which an issuer wants a certificate renewed (RFC 9773).
"""

from functools import partial
from urllib.parse import urlsplit

from exporter.lookups.issuers import ANSWER_LIMIT, _failed, _good
from exporter.lookups.merge import added, renewed
from exporter.model.destinations import Range, host_range
from exporter.model.observation import Certificate, Facts, FailedLookup, Item, Renewal
from exporter.model.reasons import Kind, Lookup, Reason
from exporter.model.targets import Target
from exporter.net.background import Answer, LookupFailedError
from exporter.net.http import download, shown
from exporter.net.network import Network
from exporter.pki import renewal_information as ari
from exporter.pki.authorities import Authorities

ROUNDED_UP = 1 / 0.9
"""Look-ups are spread by a tenth to both sides. With this factor, none comes before the server wants it."""


def has_known_issuer(facts: Facts, target: Target) -> bool:
    """
    Return True when the ACME server of a leaf's issuer is known, and to be asked.
    """
    return target.renewal_information and any(_directory(item, target) is not None for item in facts.items)


def _directory(item: Item, target: Target) -> str | None:
    """
    Return the URL of the ACME server to ask about an item; None when there is none, or no need to ask.
    """
    leaf = item.certificate
    if item.kind is not Kind.LEAF or leaf is None or item.renewal is not None:
        return None
    return target.acme.get(leaf.issuer_organization)


def renewal_information(facts: Facts, target: Target, network: Network, authorities: Authorities) -> Facts:
    """
    Return the facts with the renewal time of each leaf, where the ACME server of its issuer is known.

    Leaves are presented by servers or stand in files. A renewal time that is already there stays: the manager
    of a certificate (cert-manager) knows best when it will renew.
    """
    renewals: list[tuple[str, Renewal]] = []
    unanswered: list[FailedLookup] = []
    for item in facts.items:
        leaf, directory = item.certificate, _directory(item, target)
        if leaf is None or directory is None:
            continue
        window, failure = _window(leaf, directory, target, network, authorities)
        if window is not None:
            renewals.append((leaf.fingerprint_sha256, window))
        if failure is not None:
            stands = window is not None
            unanswered.append(_failed(Lookup.RENEWAL_INFORMATION, failure, stands=stands))
    if not renewals and not unanswered:
        return facts
    return added(renewed(facts, tuple(renewals)), unanswered=unanswered)


def _window(
    leaf: Certificate, directory: str, target: Target, network: Network, authorities: Authorities
) -> tuple[Renewal | None, LookupFailedError | None]:
    """
    Return the leaf's renewal window from this ACME directory, and the failure of the latest look-up.

    The window is None while it is not known, the failure None when there was none.
    """
    identifier = ari.certificate_id(leaf.der)
    if identifier is None:
        return None, None
    asked = network.lookups
    key = ("renewal information", directory, identifier)
    before = authorities.before(leaf)
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
    # No request is made for an expired one (RFC 9773 section 4.3), and its last window stays.
    known = asked.known(key)
    window: Renewal | None = known.value if known is not None else kept
    return window, failure


async def _get_directory(network: Network, directory: str) -> Answer:
    """
    Return the URL of an ACME server's renewal information; empty without one. Raises LookupFailedError.
    """
    got = _good(await download(network.resolver, directory, ANSWER_LIMIT), directory, network)
    try:
        place = ari.read_directory(got.body, directory)
    except ari.RenewalInformationError as error:
        words = f"what {shown(directory)} gives is no ACME directory to go by: {error}"
        raise LookupFailedError(Reason.FORMAT_BROKEN, words, ari.USUAL_PAUSE) from None
    return Answer(place, ari.LONGEST_PAUSE)


def _own(url: str, directory: str) -> frozenset[Range] | None:
    """
    Return the ranges of addresses that a URL from an ACME directory may lead to.

    None means any: the URL is on the directory's own host.
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
    Return the renewal window of a certificate; None if the server has none for it, and never had.

    Raises LookupFailedError.
    """
    got = await download(network.resolver, url, ANSWER_LIMIT, own=own)
    known = network.lookups.known(key)
    had = known.value if known is not None else kept
    if 400 <= got.status < 500 and got.status not in {408, 429}:
        if had is None:
            # It was not issued by ACME, as many of the same authority are not: no failure.
            return Answer(None, ari.USUAL_PAUSE)
        words = f"{shown(url)} answered with HTTP status {got.status}, and gave a window before"
        raise LookupFailedError(Reason.HTTP_FAILED, words, ari.USUAL_PAUSE)
    try:
        window = ari.read_window(_good(got, url, network).body)
    except ari.RenewalInformationError as error:
        words = f"what {shown(url)} gives is no renewal information to go by: {error}"
        raise LookupFailedError(Reason.FORMAT_BROKEN, words, ari.USUAL_PAUSE) from None
    return Answer(window, ari.pause(got.retry_after, network.clock()) * ROUNDED_UP)
