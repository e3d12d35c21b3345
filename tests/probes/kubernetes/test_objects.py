"""
What is looked at in which objects: names, types, labels, keys, and when cert-manager renews.
"""

import base64
from pathlib import Path

from exporter.engine.scrape import EndpointRow
from tests.formats.samples import PASSWORD, issuer, leaf, pkcs12_store, root
from tests.probes.kubernetes.api_server import Object, secret
from tests.probes.kubernetes.looking import eventually, of, world
from tests.support.certificates import DAY, NOW
from tests.support.rows import detail, items, outcome, told


def by_label(rows: list[EndpointRow]) -> dict[str, EndpointRow]:
    """
    The rows by label.
    """
    return {row.label: row for row in rows}


async def test_each_key_of_a_secret_is_an_endpoint(tmp_path: Path) -> None:
    """
    The certificate and the CA beside it; the private key is none.
    """
    async with world(tmp_path) as here:
        made = secret("prod", "web", tls_crt=leaf().chain_pem, tls_key=leaf().key_pem, ca_crt=root().pem)
        here.fake.fill("secrets", made)
        rows = by_label(await here.look(of("prod/web")))
        assert {label: items(row) for label, row in rows.items()} == {
            "prod/web:tls.crt": ["leaf", "chain-1"],
            "prod/web:ca.crt": ["certificate-1"],
        }


async def test_patterns_of_namespaces_and_names(tmp_path: Path) -> None:
    """
    As in a shell. A namespace that is a name is asked for alone.
    """
    async with world(tmp_path) as here:
        for where, name in (("prod", "tls-a"), ("prod", "b"), ("dev", "tls-a"), ("prod-2", "tls-c")):
            here.fake.fill("secrets", secret(where, name, tls_crt=leaf().pem))

        async def found(path: str) -> set[str]:
            return {label.partition(":")[0] for label in told(await here.look(of(path)))}

        assert await found("*/*") == {"prod/tls-a", "prod/b", "dev/tls-a", "prod-2/tls-c"}
        assert await found("prod/tls-*") == {"prod/tls-a"}
        assert await found("prod*/*") == {"prod/tls-a", "prod/b", "prod-2/tls-c"}
        assert await found("*/tls-[ac]") == {"prod/tls-a", "dev/tls-a", "prod-2/tls-c"}
        assert await found("prod/b") == {"prod/b"}
        asked = {(one.namespace, one.query.get("fieldSelector")) for one in here.fake.asked}
        assert asked == {
            ("", "type=kubernetes.io/tls"),
            ("", "type=Opaque"),
            ("prod", "type=kubernetes.io/tls"),
            ("prod", "type=Opaque"),
            ("prod", "metadata.name=b"),
        }


async def test_types_are_chosen_by_the_server_and_helms_releases_never_come(tmp_path: Path) -> None:
    """
    TLS and opaque Secrets unless others are named; one that is named in the URL has any type.
    """
    async with world(tmp_path) as here:
        pem = leaf().pem
        here.fake.fill(
            "secrets",
            secret("prod", "web", tls_crt=pem),
            secret("prod", "own", "Opaque", some_pem=pem),
            secret("prod", "odd", "example.com/odd", some_pem=pem),
            secret("prod", "sh.helm.release.v1.web.v1", "helm.sh/release.v1", release=pem),
        )
        assert set(told(await here.look(of("prod/*")))) == {"prod/web:tls.crt", "prod/own:some.pem"}
        odd = of("prod/*", types=("example.com/odd",))
        assert set(told(await here.look(odd))) == {"prod/odd:some.pem"}
        assert set(told(await here.look(of("prod/odd")))) == {"prod/odd:some.pem"}
        here.fake.ignores_selectors = True
        everything = of("prod/*", types=("kubernetes.io/tls",))
        assert not any("helm" in label for label in told(await here.look(everything)))


async def test_labels_are_selected_by_the_server(tmp_path: Path) -> None:
    """
    The selector is passed on as it is written.
    """
    async with world(tmp_path) as here:
        one, other = (secret("prod", name, tls_crt=leaf().pem) for name in ("one", "other"))
        one["metadata"]["labels"] = {"team": "web"}
        here.fake.fill("secrets", one, other)
        rows = await here.look(of("prod/*", selector="team=web"))
        assert told(rows) == {"prod/one:tls.crt": "seen"}
        assert {one.query["labelSelector"] for one in here.fake.asked} == {"team=web"}


async def test_in_an_opaque_secret_only_what_expires_is_told_of(tmp_path: Path) -> None:
    """
    Passwords and keys are nobody's business; what says it is a certificate and is none is a failure.
    """
    async with world(tmp_path) as here:
        here.fake.fill(
            "secrets",
            secret(
                "prod",
                "own",
                "Opaque",
                password=b"hunter2",
                empty=b"",
                bytes=bytes(range(256)),
                key_pem=leaf().key_pem,
                good_pem=leaf().pem,
                broken_pem=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                half_pem=leaf().pem + b"-----BEGIN CERTIFICATE-----\n",
            ),
        )
        rows = by_label(await here.look(of("prod/*")))
        assert told(list(rows.values())) == {
            "prod/own:good.pem": "seen",
            "prod/own:broken.pem": "format_broken",
            "prod/own:half.pem": "format_broken",
        }
        assert items(rows["prod/own:half.pem"]) == ["leaf"]


async def test_a_secret_for_tls_must_have_a_certificate(tmp_path: Path) -> None:
    """
    Missing, empty, not a certificate, not base64: each is a failure of its own, and harms no other.
    """
    async with world(tmp_path) as here:
        bad = secret("prod", "bad", tls_crt=b"")
        bad["data"]["tls.crt"] = "%%%"
        here.fake.fill(
            "secrets",
            bad,
            secret("prod", "empty", tls_crt=b"", tls_key=b""),
            secret("prod", "missing", tls_key=leaf().key_pem),
            secret("prod", "key", tls_crt=leaf().key_pem),
            secret("prod", "good", tls_crt=leaf().pem),
        )
        assert told(await here.look(of("prod/*"))) == {
            "prod/bad:tls.crt": "format_broken",
            "prod/empty:tls.crt": "format_unknown",
            "prod/missing:tls.crt": "nothing_expires",
            "prod/key:tls.crt": "nothing_expires",
            "prod/good:tls.crt": "seen",
        }


async def test_what_once_held_something_is_missed_when_it_is_overwritten(tmp_path: Path) -> None:
    """
    A key of an opaque Secret that held a certificate, and now holds nonsense.
    """
    async with world(tmp_path) as here:
        here.fake.fill("secrets", secret("prod", "own", "Opaque", some_pem=leaf().pem))
        target = of("prod/*")
        await here.look(target)
        await here.fake.put("secrets", secret("prod", "own", "Opaque", some_pem=b"nonsense"))
        (row,) = await here.until(target, lambda rows: rows == {"prod/own:some.pem": "format_unknown"})
        assert items(row) == ["leaf"]


async def test_keystores_are_read_if_there_is_a_password(tmp_path: Path) -> None:
    """
    Without one they are left out, since the same is in the Secret in another form; a wrong one is a failure.
    """
    async with world(tmp_path) as here:
        here.fake.fill("secrets", secret("prod", "own", tls_crt=leaf().pem, keystore_p12=pkcs12_store()))
        assert set(told(await here.look(of("prod/own")))) == {"prod/own:tls.crt"}
        opened = told(await here.look(of("prod/own", password=PASSWORD)))
        assert opened == {"prod/own:tls.crt": "seen", "prod/own:keystore.p12": "seen"}
        wrong = told(await here.look(of("prod/own", password="wrong")))
        assert wrong["prod/own:keystore.p12"] == "keystore_password_wrong"


async def test_config_maps(tmp_path: Path) -> None:
    """
    Text and binary data; a ConfigMap and a Secret of one name are two.
    """
    async with world(tmp_path) as here:
        here.fake.fill("secrets", secret("prod", "ca", "Opaque", ca_pem=leaf().pem))
        der = base64.b64encode(issuer().der).decode()
        data = {"ca.pem": root().pem.decode(), "nginx.conf": "listen 443;"}
        metadata = {"namespace": "prod", "name": "ca"}
        here.fake.fill("configmaps", {"metadata": metadata, "data": data, "binaryData": {"ca.der": der}})
        assert told(await here.look(of("prod/*", "secrets", "configmaps"))) == {
            "prod/ca:ca.pem": "seen",
            "prod/configmap/ca:ca.pem": "seen",
            "prod/configmap/ca:ca.der": "seen",
        }


async def test_bundles_of_webhooks(tmp_path: Path) -> None:
    """
    Both kinds, each webhook an endpoint; they are in no namespace, so only the name counts.
    """
    async with world(tmp_path) as here:

        def hook(name: str, bundle: bytes | None) -> Object:
            encoded = {} if bundle is None else {"caBundle": base64.b64encode(bundle).decode()}
            return {"name": name, "clientConfig": encoded}

        def configuration(*hooks: Object) -> Object:
            return {"metadata": {"name": "policy"}, "webhooks": list(hooks)}

        validating = configuration(hook("a.example", root().pem), hook("b.example", None))
        here.fake.fill("validatingwebhookconfigurations", validating)
        mutating = configuration(hook("c.example", b"nonsense"))
        here.fake.fill("mutatingwebhookconfigurations", mutating)
        assert told(await here.look(of("*/*", "webhooks"))) == {
            "validatingwebhookconfiguration/policy:a.example": "seen",
            "mutatingwebhookconfiguration/policy:c.example": "format_unknown",
        }
        assert told(await here.look(of("*/other", "webhooks"))) == {"*/other": "no_match"}


def certificate(name: str, secret_name: str, due: str, not_after: str) -> Object:
    """
    A Certificate of cert-manager.
    """
    return {
        "metadata": {"namespace": "prod", "name": name},
        "spec": {"secretName": secret_name},
        "status": {"renewalTime": due, "notAfter": not_after},
    }


async def test_the_renewal_time_of_cert_manager_is_when_renewal_is_due(tmp_path: Path) -> None:
    """
    Of the leaf in the Secret that the Certificate names, and of no other item.
    """
    async with world(tmp_path) as here:
        web = issuer().issue("web", ["web.example"], not_before=NOW - DAY, not_after=NOW + 89 * DAY)
        here.fake.fill(
            "secrets",
            secret("prod", "web-tls", tls_crt=web.chain_pem),
            secret("prod", "other", tls_crt=leaf().pem),
        )
        # NOW is 2027-01-15T08:00:00Z, and the leaf ends 89 days later.
        known = certificate("web", "web-tls", "2027-03-15T08:00:00Z", "2027-04-14T08:00:00Z")
        here.fake.fill("certificates", known)
        target = of("prod/*", "secrets", "certificates")
        rows = by_label(await here.look(target))
        assert set(rows) == {"prod/web-tls:tls.crt", "prod/other:tls.crt"}

        def due(row: EndpointRow) -> list[float | None]:
            assert row.held.facts is not None
            return [one.renewal.due if one.renewal else None for one in row.held.facts.items]

        assert due(rows["prod/web-tls:tls.crt"]) == [NOW + 59 * DAY, None]
        assert due(rows["prod/other:tls.crt"]) == [None]
        # It was renewed: what the status says of the old one does not hold for the new.
        new = issuer().issue("web", ["web.example"], not_before=NOW, not_after=NOW + 90 * DAY)
        await here.fake.put("secrets", secret("prod", "web-tls", tls_crt=new.pem))

        def now_due(rows: list[EndpointRow]) -> list[float | None]:
            return due(by_label(rows)["prod/web-tls:tls.crt"])

        await here.until_rows(target, lambda rows: now_due(rows) == [None])
        later = certificate("web", "web-tls", "2027-03-16T08:00:00Z", "2027-04-15T08:00:00Z")
        await here.fake.put("certificates", later)
        await here.until_rows(target, lambda rows: now_due(rows) == [NOW + 60 * DAY])


async def test_a_certificate_whose_status_is_odd_says_nothing(tmp_path: Path) -> None:
    """
    The Secret is told of as if there were none.
    """
    async with world(tmp_path) as here:
        here.fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
        for number, time in enumerate(("", "soon", "9999-99-99T00:00:00Z")):
            here.fake.fill("certificates", certificate(f"c{number}", "web", time, time))
        here.fake.fill("certificates", {"metadata": {"namespace": "prod", "name": "bare"}})
        (row,) = await here.look(of("prod/*", "secrets", "certificates"))
        assert outcome(row) == "seen"
        assert row.held.facts is not None
        assert row.held.facts.items[0].renewal is None


async def test_a_single_look_with_steps(tmp_path: Path) -> None:
    """
    What `/probe?debug` shows, also of a failure.
    """
    async with world(tmp_path) as here:
        here.fake.fill(
            "secrets", secret("prod", "web", tls_crt=leaf().pem), secret("prod", "bad", tls_crt=b"")
        )
        await here.look(of("prod/*"))
        await eventually(lambda: here.fake.watching == 2)
        made = await here.watch.probe(of("prod/*"), 5.0, trace_steps=True)
        looks = {one.label: one for one in made.results[0].looks}
        assert "1 things that expire" in [words for _, words in looks["prod/web:tls.crt"].steps]
        assert "format_unknown" in str(looks["prod/bad:tls.crt"].steps)


async def test_what_fails_says_where(tmp_path: Path) -> None:
    """
    The sentence names the endpoint.
    """
    async with world(tmp_path) as here:
        here.fake.fill("secrets", secret("prod", "bad", tls_crt=b"nonsense"))
        (row,) = await here.look(of("prod/bad"))
        assert detail(row).startswith("prod/bad:tls.crt")
