"""
Source `stores`: directories as the ACME clients lay them out, with real certificates.
"""

import json
import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.config.reader import parse
from exporter.config.sources import SourceEntry
from exporter.discovery.base import Found, Listing, SourceError
from exporter.discovery.stores import listed
from exporter.discovery.targets import made
from exporter.model.policies import DAY
from exporter.net.file_threads import Progress
from exporter.probes.files.glob import search
from tests.formats.samples import acme_json, leaf, traefik_entry
from tests.support.certificates import NOW


def write(path: Path, content: bytes | str = b"") -> None:
    """
    Write a file, and the directories above it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def utc(seconds: float) -> str:
    """
    A time as Go writes it.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def short(listing: Listing, root: Path) -> list[tuple[str, str, float | None]]:
    """
    Path below the root, policy and days before the end.
    """
    return [
        (
            one.url.removeprefix(f"file://{root}/"),
            one.policy,
            None if one.renew_before is None else round(one.renew_before / DAY, 3),
        )
        for one in listing.found
    ]


CERTBOT = """\
# renew_before_expiry = 30 days
version = 4.0.0
cert = /etc/letsencrypt/live/www/cert.pem
[renewalparams]
account = 0123
"""


@pytest.mark.parametrize(
    "text", ["", "{}\n", '{"le": {"Account": {"Email": "a@example.com"}, "Certificates": null}}']
)
def test_traefik_before_its_first_certificate(text: str, tmp_path: Path) -> None:
    """
    That is told, and nothing to watch. A file that had certificates is watched whatever becomes of it.
    """
    path = tmp_path / "acme.json"
    write(path, acme_json(traefik_entry("a", leaf().pem)))
    full = listed([str(path)])
    assert [one.url for one in full.found] == [f"file://{path}"]
    write(path, text)
    assert listed([str(path)]) == Listing(notes=(f"{path} has no certificate yet",))
    assert listed([str(path)], full.found).found == full.found


def test_certbot_says_when_it_renews(tmp_path: Path) -> None:
    """
    By `renew_before_expiry`; before version 4 thirty days are its default; by hand is by hand.
    """
    for name, conf in {
        "new": CERTBOT,
        "old": CERTBOT.replace("4.0.0", "2.1.0"),
        "stated": f"renew_before_expiry = 20 days\n{CERTBOT}",
        "hand": f"{CERTBOT}autorenew = False\n",
        "odd": f"renew_before_expiry = a while\n{CERTBOT}",
    }.items():
        write(tmp_path / "live" / name / "fullchain.pem", leaf().chain_pem)
        write(tmp_path / "renewal" / f"{name}.conf", conf)
    write(tmp_path / "live" / "README")
    listing = listed([str(tmp_path)])
    assert short(listing, tmp_path) == [
        ("live/hand/fullchain.pem", "manual", None),
        ("live/new/fullchain.pem", "acme", None),
        ("live/odd/fullchain.pem", "acme", None),
        ("live/old/fullchain.pem", "acme", 30.0),
        ("live/stated/fullchain.pem", "acme", 20.0),
    ]
    assert len(listing.notes) == 1


def test_acme_sh_says_when_it_renews(tmp_path: Path) -> None:
    """
    By a time in its file, which is told as the time before the end.
    """
    write(tmp_path / "www.example.com_ecc" / "fullchain.cer", leaf().chain_pem)
    conf = f"Le_Domain='www.example.com'\nLe_NextRenewTime='{int(NOW + DAY)}'\n"
    write(tmp_path / "www.example.com_ecc" / "www.example.com.conf", conf)
    write(tmp_path / "bare" / "fullchain.cer", b"nonsense")
    write(tmp_path / "account.conf")
    (bare, known) = short(listed([str(tmp_path)]), tmp_path)
    assert bare == ("bare/fullchain.cer", "acme", None)
    assert known[:2] == ("www.example.com_ecc/fullchain.cer", "acme")
    assert known[2] is not None
    assert known[2] > 0


def test_caddy_says_when_it_renews(tmp_path: Path) -> None:
    """
    By the time that it selected in the window that its CA suggests. That of another certificate is none.
    """
    begin, end = NOW - DAY, NOW + 89 * DAY
    given: dict[str, object] = {
        "planned": {"renewal_info": {"_selectedTime": utc(end - 20 * DAY)}},
        "before": {"renewal_info": {"_selectedTime": utc(begin - DAY)}},
        "never": {"renewal_info": {"_selectedTime": "0001-01-01T00:00:00Z"}},
        "odd": {"renewal_info": []},
        "internal": None,
    }
    for name, data in given.items():
        place = tmp_path / f"certificates/acme/{name}.example/{name}.example"
        write(Path(f"{place}.crt"), leaf().chain_pem)
        write(Path(f"{place}.json"), json.dumps({"sans": [f"{name}.example"], "issuer_data": data}))
    write(tmp_path / "certificates/acme/broken.example/broken.example.crt", leaf().chain_pem)
    write(tmp_path / "certificates/acme/broken.example/broken.example.json", "{")
    found = {Path(path).stem: more for path, *more in short(listed([str(tmp_path)]), tmp_path)}
    assert found.pop("planned.example") == ["acme", 20.0]
    assert set(found) == {f"{name}.example" for name in (*given, "broken")} - {"planned.example"}
    assert all(one == ["acme", None] for one in found.values())


MD = """\
{
  "name": "one.example",
  "renew-mode": MODE,
  "renew-window": WINDOW,
  "warn-window": "10%"
}"""
"""As mod_md of Apache 2.4 writes it, without what is of no matter here."""


@pytest.mark.parametrize(
    ("mode", "window", "expected"),
    [
        (1, '"33%"', ("acme", None)),
        (1, '"21d"', ("acme", 21.0)),
        (2, '"36h"', ("acme", 1.5)),
        (1, '"10%"', ("acme", 9.0)),
        (1, '"soon"', ("acme", None)),
        (1, "5", ("acme", None)),
        (0, '"21d"', ("manual", None)),
    ],
)
def test_mod_md_says_when_it_renews(
    mode: int, window: str, expected: tuple[str, float | None], tmp_path: Path
) -> None:
    """
    By MDRenewWindow, a duration or a share; with MDRenewMode manual a person does it.
    """
    write(tmp_path / "domains/one.example/pubcert.pem", leaf().chain_pem)
    text = MD.replace("MODE", str(mode)).replace("WINDOW", window)
    write(tmp_path / "domains/one.example/md.json", text)
    ((_, *found),) = short(listed([str(tmp_path)]), tmp_path)
    assert tuple(found) == expected


def test_a_name_with_the_signs_of_a_pattern_is_that_file_alone(tmp_path: Path) -> None:
    """
    As acme.sh names the directory of a wildcard certificate. Each target has one file, as it is on disk.
    """
    paths = [
        "acme/*.wild.test_ecc/fullchain.cer",
        "acme/www.wild.test_ecc/fullchain.cer",
        "lego/certificates/weird name*[x]é?.crt",
        "lego/certificates/weird name-xé-.crt",
        "lego/certificates/%41#[!a].crt",
        "lego/certificates/Ab.crt",
        "lego/certificates/not-utf8-\udcff*.crt",
        "[a-z]/acme.json",
    ]
    for path in paths[:-1]:
        write(tmp_path / path, leaf().chain_pem)
    write(tmp_path / paths[-1], acme_json(traefik_entry("a", leaf().pem)))
    listing = listed([str(tmp_path / name) for name in ("acme", "lego", "[a-z]")])
    config = parse(b"discover: [{stores: /x}]", "expiry.yml", {})
    targets = made(listing.found, config.discover[0], config).targets
    read = sorted(found for target in targets for found in search(target.url.path, Progress()).paths)
    assert len(targets) == len(paths)
    assert read == sorted(str(tmp_path / path) for path in paths)


def test_the_other_clients_are_known_by_their_directories(tmp_path: Path) -> None:
    """
    Lego, Caddy (its data below a home), step, and Traefik's file.
    """
    write(tmp_path / "lego/certificates/a.example.com.crt")
    write(tmp_path / "lego/certificates/a.example.com.issuer.crt")
    write(tmp_path / "caddy/.local/share/caddy/certificates/acme-v02/b.example.com/b.example.com.crt")
    write(tmp_path / "step/certs/c.crt")
    write(tmp_path / "traefik/acme.json", acme_json(traefik_entry("d", leaf().pem)))
    listing = listed(
        [f"{tmp_path}/{name}" for name in ("lego", "caddy", "step", "traefik", "traefik/acme.json")]
    )
    assert short(listing, tmp_path) == [
        ("lego/certificates/a.example.com.crt", "acme", None),
        ("caddy/.local/share/caddy/certificates/acme-v02/b.example.com/b.example.com.crt", "acme", None),
        ("step/certs/c.crt", "step", None),
        ("traefik/acme.json", "acme", None),
        ("traefik/acme.json", "acme", None),
    ]
    assert all(one.why for one in listing.found)


def test_clients_of_debian(tmp_path: Path) -> None:
    """
    dehydrated, uacme, acmetool and mod_md. Accounts, keys, old certificates and what is fetched are left out.
    """
    chain = leaf().chain_pem
    write(tmp_path / "dehydrated/certs/a.example/fullchain-1700000000.pem", chain)
    (tmp_path / "dehydrated/certs/a.example/fullchain.pem").symlink_to("fullchain-1700000000.pem")
    write(tmp_path / "dehydrated/certs/b.example/fullchain.pem", chain)
    write(tmp_path / "dehydrated/certs/b.example/config", 'KEY_ALGO=rsa\nRENEW_DAYS="20"\n')
    write(tmp_path / "dehydrated/certs/gone.example/cert.csr")
    write(tmp_path / "dehydrated/accounts/x/account_key.pem")
    write(tmp_path / "dehydrated/archive/a.example/fullchain-1.pem", chain)
    write(tmp_path / "uacme/c.example/cert.pem", chain)
    write(tmp_path / "uacme/private/c.example/key.pem")
    write(tmp_path / "uacme/private/key.pem")
    write(tmp_path / "uacme/other/cert.pem", chain)
    write(tmp_path / "acmetool/certs/abc/fullchain", chain)
    (tmp_path / "acmetool/live").mkdir()
    (tmp_path / "acmetool/live/d.example").symlink_to("../certs/abc")
    (tmp_path / "acmetool/live/lost.example").symlink_to("../certs/def")
    write(tmp_path / "md/domains/e.example/pubcert.pem", chain)
    write(tmp_path / "md/domains/e.example/pubcert.secp384r1.pem", chain)
    write(tmp_path / "md/domains/e.example/privkey.pem")
    write(tmp_path / "md/staging/f.example/pubcert.pem", chain)
    listing = listed([f"{tmp_path}/{name}" for name in ("dehydrated", "uacme", "acmetool", "md")])
    assert short(listing, tmp_path) == [
        ("dehydrated/certs/a.example/fullchain.pem", "acme", None),
        ("dehydrated/certs/b.example/fullchain.pem", "acme", 20.0),
        ("uacme/c.example/cert.pem", "acme", None),
        ("acmetool/live/d.example/fullchain", "acme", None),
        ("acmetool/live/lost.example/fullchain", "acme", None),
        ("md/domains/e.example/pubcert.pem", "acme", None),
        ("md/domains/e.example/pubcert.secp384r1.pem", "acme", None),
    ]
    assert listing.notes == ()


def test_links_of_certbot_that_lead_nowhere_are_watched(tmp_path: Path) -> None:
    """
    Half a deletion, or an archive that was lost: what is named there is used by a server.
    """
    write(tmp_path / "archive/www/fullchain1.pem", leaf().chain_pem)
    (tmp_path / "live/www").mkdir(parents=True)
    (tmp_path / "live/www/fullchain.pem").symlink_to("../../archive/www/fullchain2.pem")
    listing = listed([str(tmp_path)])
    assert short(listing, tmp_path) == [("live/www/fullchain.pem", "acme", None)]


def test_both_types_of_key_of_acme_sh(tmp_path: Path) -> None:
    """
    Each has a directory.
    """
    for name in ("a.example", "a.example_ecc"):
        write(tmp_path / name / "fullchain.cer", leaf().chain_pem)
        write(
            tmp_path / name / "a.example.conf",
            f"Le_NextRenewTime='{int(leaf().certificate.not_valid_after_utc.timestamp() - 20 * DAY)}'\n",
        )
    write(tmp_path / "ca/acme-v02.api.letsencrypt.org/directory/account.json")
    assert short(listed([str(tmp_path)]), tmp_path) == [
        (f"{name}/fullchain.cer", "acme", 20.0) for name in ("a.example", "a.example_ecc")
    ]


def test_a_store_of_nobody_is_a_note_and_a_list_of_missing_ones_an_error(tmp_path: Path) -> None:
    """
    They may be on a mount that is away: the last list stays.
    """
    assert "no certificate of a client" in listed([str(tmp_path)]).notes[0]
    with pytest.raises(SourceError, match="there is no store /none/a; there is no store /none/b") as caught:
        listed(["/none/a", "/none/b"])
    assert caught.value.listing is None


def test_a_store_that_this_host_never_had_is_a_note(tmp_path: Path) -> None:
    """
    The same list is for hosts with other clients. The others are given.
    """
    write(tmp_path / "le/live/www/fullchain.pem", leaf().pem)
    listing = listed([str(tmp_path / "le"), str(tmp_path / "caddy")])
    assert short(listing, tmp_path) == [("le/live/www/fullchain.pem", "acme", None)]
    assert listing.notes == (f"there is no store {tmp_path}/caddy",)


def test_certificates_of_a_store_that_is_gone_stay(tmp_path: Path) -> None:
    """
    It is a failure, and what the others have now is given.
    """
    paths = [str(tmp_path / name) for name in ("le", "lego", "never")]
    write(tmp_path / "le/live/www/fullchain.pem", leaf().pem)
    write(tmp_path / "lego/certificates/old.crt", leaf().pem)
    write(tmp_path / "lego2/certificates/x.crt", leaf().pem)
    before = listed([*paths, str(tmp_path / "lego2")]).found
    shutil.rmtree(tmp_path / "le")
    (tmp_path / "lego/certificates/old.crt").rename(tmp_path / "lego/certificates/new.crt")
    with pytest.raises(
        SourceError, match=r"le can't be read: No such file .*; its 1 certificates stay"
    ) as caught:
        listed(paths, before)
    assert caught.value.listing is not None
    assert short(caught.value.listing, tmp_path) == [
        ("le/live/www/fullchain.pem", "acme", None),
        ("lego/certificates/new.crt", "acme", None),
    ]
    assert caught.value.listing.notes == (f"there is no store {tmp_path}/never",)


def test_a_store_that_may_not_be_read_says_what_is_needed() -> None:
    """
    As the directories of certbot for other users.
    """
    # pytest's own directories are closed to others, and root may read everything.
    with tempfile.TemporaryDirectory() as name:
        store, us = Path(name), os.geteuid()
        store.chmod(0o755)
        write(store / "live" / "www" / "fullchain.pem")
        (store / "other").mkdir(mode=0o755)
        (store / "live").chmod(0)
        try:
            if us == 0:
                os.seteuid(65534)
            with pytest.raises(SourceError, match="but none of the keys"):
                listed([str(store)])
            # Of one that this user can't get to, nobody knows whether it is there: no note.
            with pytest.raises(SourceError, match="but none of the keys") as caught:
                listed([str(store / "live/deeper"), str(store / "other")])
            assert caught.value.listing is not None
            assert not caught.value.listing.found
            assert ["other has no certificate" in one for one in caught.value.listing.notes] == [True]
        finally:
            os.seteuid(us)
            (store / "live").chmod(0o700)


def test_what_the_client_plans_is_when_renewal_is_due() -> None:
    """
    The other deadlines are those of its policy, unless the entry names one; spaces in a path are escaped.
    """
    config = parse(b"discover: [{stores: /x}, {stores: /y, policy: manual}]", "expiry.yml", {})
    one = Found("file:///x/live/a%20b/fullchain.pem", "certbot", policy="acme", renew_before=20 * DAY)

    def due(entry: SourceEntry) -> tuple[str, int]:
        (target,) = made([one], entry, config).targets
        assert target.url.path == "/x/live/a b/fullchain.pem"
        return target.policy.name, round(target.policy.time_left(90 * DAY).renewal_due / DAY)

    # If it plans to renew late, that is no alarm; what is late is told before the end.
    late = replace(one, renew_before=5 * DAY)
    left = made([late], config.discover[0], config).targets[0].policy.time_left(90 * DAY)
    assert left.renewal_due == 5 * DAY > left.warning > left.critical > DAY

    first, second = config.discover
    assert due(first) == ("acme", 20)
    assert due(second) == ("manual", 45)
