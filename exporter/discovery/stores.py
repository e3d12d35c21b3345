"""
Source `stores`: what ACME clients keep on disk, with the time at which each client itself will renew.

The clients are known by what their directories look like.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from exporter import formats
from exporter.discovery.base import Context, Found, Listing, Source, SourceError, file_url, in_part
from exporter.discovery.links import looked_at
from exporter.discovery.threads import in_thread
from exporter.formats import traefik
from exporter.formats.parsed import ParseContext
from exporter.model import foreign_json
from exporter.model.errors import ProbeError
from exporter.model.policies import DAY, HOUR
from exporter.model.reasons import Kind
from exporter.model.times import rfc3339
from exporter.net.regular_files import read

INTERVAL = 300.0


CERTIFICATE_LIMIT = 100_000
"""Certificates of one entry at most."""


CONF_LIMIT = 1024 * 1024
"""Bytes of a client's file."""


MD_MANUAL, MD_USUAL = 0, "33%"
"""The `renew-mode` of mod_md by which a person renews, and its `renew-window` where nobody set another."""


KNOWN = "certbot, acme.sh, lego, dehydrated, uacme, acmetool, mod_md of Apache, Caddy, Traefik and step"


Notes = dict[str, None]


async def run(paths: Sequence[str], context: Context) -> Listing:
    """
    Return a target for each certificate in the stores. Raises SourceError.
    """
    return await looked_at(in_thread(lambda: listed(paths, context.before, context.progress)))


def listed(
    paths: Sequence[str], before: Sequence[Found] = (), progress: Callable[[str], None] = lambda _: None
) -> Listing:
    """
    Return a target for each certificate in the stores. Raises SourceError. Blocks.

    Where a store can't be read, what was found there `before` stays. One that is not there, and never gave
    anything, is a note: few hosts have all clients. If none can be read, that is an error.
    """
    notes: Notes = {}
    found: list[Found] = []
    missing: list[str] = []
    failures: list[str] = []
    known = {one.url for one in before}
    for path in paths:
        progress(f"store {path}")
        try:
            found += list(_in_store(Path(path), notes, known))
        except OSError as error:
            kept = [one for one in before if _is_in(one, path)]
            found += kept
            if not kept and _is_gone(error) and not os.path.lexists(path):
                missing.append(f"there is no store {path}")
            else:
                stays = f"; its {len(kept)} certificates stay targets" if kept else ""
                failures.append(_words(error) + stays)
        if len(found) > CERTIFICATE_LIMIT:
            raise SourceError(f"more than {CERTIFICATE_LIMIT:,} certificates: name fewer stores")
    listing = Listing(tuple(found), (*missing, *notes))
    if len(failures) + len(missing) == len(paths):
        raise in_part([*failures, *missing])
    if failures:
        raise in_part(failures, listing)
    return listing


def _is_in(one: Found, path: str) -> bool:
    """
    Return True when this target was found in the store at this path.
    """
    place = _url(Path(path))
    return one.url == place or one.url.startswith(f"{place.rstrip('/')}/")


def _is_gone(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def _words(error: OSError) -> str:
    if _is_gone(error):
        return f"{error.filename} can't be read: {error.strerror}. If it is gone for good, name it no more"
    return (
        f"{error.filename} can't be read: {error.strerror}. The exporter's user needs to read and "
        "enter the directories down to the certificates, but none of the keys"
    )


def _in_store(path: Path, notes: Notes, known: Collection[str]) -> Iterator[Found]:
    """
    Yield the certificates of a store. `known` are URLs that had some before. Raises OSError.
    """
    if path.is_file():
        # Traefik has it before its first certificate. One that lost them all is a failure, and stays.
        if _url(path) not in known and _is_new(path):
            notes[f"{path} has no certificate yet"] = None
            return
        yield Found(_url(path), f"certificates in {path}, Traefik's file", policy="acme")
        return
    # Raises where it is not there, or may not be read.
    next(path.iterdir(), None)
    for client in (_certbot, _acmetool, _acme_sh, _lego, _caddy, _dehydrated, _uacme, _mod_md, _step):
        certificates = list(client(path, notes))
        yield from certificates
        if certificates:
            return
    if (path / "acme.json").is_file():
        yield from _in_store(path / "acme.json", notes, known)
        return
    notes[f"{path} has no certificate of a client that is known here: {KNOWN}"] = None


def _is_new(path: Path) -> bool:
    """
    Return True for an `acme.json` as it is before the first certificate: empty, or with an account alone.
    """
    try:
        data, _ = read(str(path), traefik.SIZE_LIMIT)
    except ProbeError:
        return False
    return data.strip() in {b"", b"{}"} or (
        traefik.recognises(data)
        and not (parsed := traefik.read(data, ParseContext())).items
        and not parsed.problems
    )


def _url(path: Path) -> str:
    return file_url(str(path))


def _inside(path: Path, pattern: str) -> list[Path]:
    """
    Return what matches below a directory. Raises OSError for a directory that may not be read.
    """
    first, _, rest = pattern.partition("/")
    if not path.is_dir():
        return []
    matching = sorted(one for one in path.iterdir() if one.match(first))
    return matching if not rest else [inner for one in matching for inner in _inside(one, rest)]


_CONF = re.compile(
    r"^[ \t]*(\w+)[ \t]*=[ \t]*(?:'([^']*)'|\"([^\"]*)\"|([^\n#]*?))[ \t]*(?:#.*)?$", re.MULTILINE
)


def _conf(path: Path) -> dict[str, str]:
    """
    Return the lines `key = value` of a client's file; empty when it is not there or can't be read.
    """
    try:
        data, _ = read(str(path), CONF_LIMIT)
    except ProbeError:
        return {}
    text = data.decode("utf-8", "replace")
    return {key: one or two or three for key, one, two, three in _CONF.findall(text)}


def _json(path: Path, *keys: str) -> Any:
    """
    Return what stands under these keys in a client's file of JSON; None when it is not there.
    """
    try:
        data, _ = read(str(path), CONF_LIMIT)
        value = foreign_json.loads(data)
    except (ProbeError, ValueError, RecursionError):
        return None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


_UNITS = {"mi": 60.0, "h": HOUR, "d": DAY, "w": 7 * DAY, "mo": 30 * DAY}


def _seconds(text: str) -> float | None:
    """
    Return a duration as a client writes it (`30 days`, `21d`), in seconds; None for what is none.
    """
    found = re.fullmatch(r"([0-9]{1,4})\s*(mi|h|d|w|mo)[a-z]*", text.strip().lower())
    return int(found[1]) * _UNITS[found[2]] if found is not None else None


def _certbot(path: Path, notes: Notes) -> Iterator[Found]:
    """
    Yield the lineages of certbot: `live/NAME/fullchain.pem`, with `renewal/NAME.conf`.
    """
    for directory in _inside(path / "live", "*"):
        if not directory.is_dir() or _is_of_acmetool(directory):
            continue
        conf = path / "renewal" / f"{directory.name}.conf"
        said = _conf(conf)
        stated = said.get("renew_before_expiry")
        before = _seconds(stated) if stated else None
        if stated and before is None:
            notes[f"{conf}: renew_before_expiry is not understood, and left out"] = None
        if before is None and said.get("version", "9").partition(".")[0] in {"0", "1", "2", "3"}:
            # Until version 4, certbot renewed thirty days before, however long a certificate lasts.
            before = 30 * DAY
        by_hand = said.get("autorenew", "").lower() == "false"
        if by_hand:
            before = None
        yield Found(
            _url(directory / "fullchain.pem"),
            f"certbot's certificate {directory.name} in {path}",
            policy="manual" if by_hand else "acme",
            renew_before=before,
        )


def _acmetool(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates that acmetool prefers: `live/NAME/fullchain`.
    """
    for link in _inside(path / "live", "*"):
        if _is_of_acmetool(link):
            why = f"acmetool's certificate {link.name} in {path}"
            yield Found(_url(link / "fullchain"), why, policy="acme")


def _is_of_acmetool(path: Path) -> bool:
    """
    Return True for a link to a directory of acmetool's `certs`, also to one that is gone.
    """
    return path.is_symlink() and path.readlink().parent.name == "certs"


def _dehydrated(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates of dehydrated: `certs/NAME/fullchain.pem`, with `certs/NAME/config`.
    """
    for chain in _inside(path / "certs", "*/fullchain.pem"):
        days = _conf(chain.parent / "config").get("RENEW_DAYS", "")
        yield Found(
            _url(chain),
            f"dehydrated's certificate {chain.parent.name} in {path}",
            policy="acme",
            renew_before=_seconds(f"{days} days"),
        )


def _uacme(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates of uacme: `NAME/cert.pem`, with `private/NAME/key.pem`.
    """
    for certificate in _inside(path, "*/cert.pem"):
        name = certificate.parent.name
        if os.path.lexists(path / "private" / name):
            yield Found(_url(certificate), f"uacme's certificate {name} in {path}", policy="acme")


def _mod_md(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates of Apache's mod_md: `domains/NAME/pubcert.pem`, and one more for each further key,
    with `domains/NAME/md.json`.
    """
    for chain in _inside(path / "domains", "*/pubcert*.pem"):
        why = f"mod_md's certificate {chain.parent.name} in {path}"
        if _json(chain.parent / "md.json", "renew-mode") == MD_MANUAL:
            yield Found(_url(chain), why, policy="manual")
            continue
        window = _json(chain.parent / "md.json", "renew-window")
        before = _seconds(window) if isinstance(window, str) else None
        # A share is a third, unless it was set.
        share = re.fullmatch(r"([0-9]{1,2})%", window) if isinstance(window, str) else None
        if share is not None and window != MD_USUAL and (lasts := _lifetime(chain)) is not None:
            before = (lasts[1] - lasts[0]) * int(share[1]) / 100
        yield Found(_url(chain), why, policy="acme", renew_before=before)


def _acme_sh(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates of acme.sh: `NAME/fullchain.cer`, with `NAME/NAME.conf`.
    """
    for chain in _inside(path, "*/fullchain.cer"):
        name = chain.parent.name
        said = _conf(chain.parent / f"{name.removesuffix('_ecc')}.conf")
        planned = said.get("Le_NextRenewTime", "")
        at = int(planned) if planned.isascii() and planned.isdigit() else None
        yield Found(
            _url(chain),
            f"acme.sh's certificate {name} in {path}",
            policy="acme",
            renew_before=_before_the_end(chain, at),
        )


def _before_the_end(path: Path, at: float | None) -> float | None:
    """
    Return the seconds from a planned renewal, in seconds since the epoch, to the end of the leaf in a file.

    None for what is no plan for this leaf.
    """
    if at is None or (lasts := _lifetime(path)) is None or not lasts[0] <= at < lasts[1]:
        return None
    return lasts[1] - at


def _lifetime(path: Path) -> tuple[float, float] | None:
    """
    Return begin and end of the leaf in a file, in seconds since the epoch; None when it can't be read.
    """
    try:
        data, _ = read(str(path), CONF_LIMIT)
    except ProbeError:
        return None
    for item in formats.recognised(data).read(ParseContext()).items:
        if item.kind is Kind.LEAF and item.not_before is not None:
            return item.not_before, item.not_after
    return None


def _lego(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates of lego: `certificates/NAME.crt`, with `certificates/NAME.json`.
    """
    for certificate in _inside(path / "certificates", "*.crt"):
        if not certificate.name.endswith(".issuer.crt") and certificate.is_file():
            why = f"lego's certificate {certificate.stem} in {path}"
            yield Found(_url(certificate), why, policy="acme")


def _caddy(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates of Caddy: `certificates/ISSUER/NAME/NAME.crt` in its data, with `NAME.json`.
    """
    for data in (path, path / "caddy", path / ".local/share/caddy"):
        for certificate in _inside(data / "certificates", "*/*/*.crt"):
            # The time that it selected in the window that the CA suggests (RFC 9773).
            selected = _json(certificate.with_suffix(".json"), "issuer_data", "renewal_info", "_selectedTime")
            yield Found(
                _url(certificate),
                f"Caddy's certificate {certificate.stem} in {data}",
                policy="acme",
                renew_before=_before_the_end(certificate, rfc3339(selected)),
            )


def _step(path: Path, _: Notes) -> Iterator[Found]:
    """
    Yield the certificates in a directory of step: `certs/*.crt`.
    """
    certificates = [*_inside(path, "certs/*.crt"), *_inside(path, "*.crt")]
    for certificate in certificates:
        why = f"step's certificate {certificate.stem} in {path}"
        yield Found(_url(certificate), why, policy="step")


SOURCE = Source("stores", INTERVAL, run, steady=True)
