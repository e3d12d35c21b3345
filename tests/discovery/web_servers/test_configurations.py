"""
What is understood of configurations, and what bad input becomes. No server runs.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exporter.config.reader import parse
from exporter.demo.minter import Minted
from exporter.discovery.base import Listing, SourceError
from exporter.discovery.targets import made
from exporter.discovery.web_servers import nginx, reading, source
from exporter.discovery.web_servers.source import listed
from tests.discovery.web_servers.looking import files


def read(directory: Path, name: str, text: str, **more: str) -> Listing:
    """
    What is found in this file, with others beside it (`a_conf` is `a.conf`).
    """
    (directory / name).write_text(text, "utf-8")
    for other, content in more.items():
        (directory / other.replace("_", ".")).write_text(content, "utf-8")
    return listed([str(directory / name)])


def failing(directory: Path, name: str, text: str, **more: str) -> tuple[str, Listing]:
    """
    The reason for which the same is not known, and what is.
    """
    with pytest.raises(SourceError) as raised:
        read(directory, name, text, **more)
    assert raised.value.listing is not None
    return str(raised.value), raised.value.listing


def wires(listing: Listing) -> list[tuple[str, str]]:
    """
    The URL and the name of each target that is no file.
    """
    return [
        (one.url, one.settings["server_name"]) for one in listing.found if not one.url.startswith("file:")
    ]


def test_nginx_addresses_names_and_inheritance(tmp_path: Path) -> None:
    """
    Wildcards become loopback, patterns are passed over, the certificate of `http` counts for all.
    """
    listing = read(
        tmp_path,
        "nginx.conf",
        """http { ssl_certificate all.pem; # of all
        server { listen 443 ssl default_server; listen [::]:443 ssl; server_name _ "a.example"
          *.b.example ~^x$ .c.example; }
        server { listen 192.0.2.7:8443 ssl proxy_protocol; server_name d.example;
          ssl_certificate '/o wn.pem'; }
        server { listen 443; server_name e.example; }
        server { listen [::1]:444 quic; server_name f.example; }
        server { listen 80; server_name g.example; }
        server { listen unix:/run/x ssl; server_name h.example; } }
        mail { server { listen 993 ssl; protocol imap; server_name m.example; ssl_certificate m.pem; } }
        stream { server { listen 853 ssl; ssl_certificate m.pem; server_name s.example; } }""",
    )
    assert wires(listing) == [
        ("https://127.0.0.1:443", "a.example"),
        ("https://127.0.0.1:443", "c.example"),
        ("https://192.0.2.7:8443", "d.example"),
        ("https://127.0.0.1:443", "e.example"),
        ("h3://[::1]:444", "f.example"),
        ("tls://127.0.0.1:853", "s.example"),
        ("imaps://127.0.0.1:993", "m.example"),
    ]
    assert files(listing.found) == [f"{tmp_path}/all.pem", "/o%20wn.pem", f"{tmp_path}/m.pem"]
    # What listens without TLS, beside the others, is nothing to tell.
    assert listing.notes == ()
    (proxied,) = [one for one in listing.found if "proxy_protocol" in one.settings]
    assert proxied.settings == {"server_name": "d.example", "proxy_protocol": "v1"}
    assert proxied.why == f"name in nginx, {tmp_path}/nginx.conf, line 4"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "nginx.conf",
            "server { listen PLACE ssl; server_name a.example; ssl_certificate /a.pem; }",
        ),
        ("haproxy.cfg", "frontend a\n mode http\n bind PLACE ssl crt-list DIR/list\n"),
    ],
)
@pytest.mark.parametrize(
    ("place", "authorities"),
    [
        ("192.0.2.7:18450-18452", ["192.0.2.7:18450", "192.0.2.7:18451", "192.0.2.7:18452"]),
        ("*:8443-8443", ["127.0.0.1:8443"]),
        ("[::1]:1-2", ["[::1]:1", "[::1]:2"]),
        ("localhost:8443", ["127.0.0.1:8443"]),
        ("192.0.2.7:65535-65536", []),
        ("192.0.2.7:2-1", []),
        ("192.0.2.7:0-1", []),
    ],
)
def test_ranges_of_ports_and_localhost(
    tmp_path: Path, name: str, text: str, place: str, authorities: list[str]
) -> None:
    """
    Each port is looked at, and `localhost` is this host's loopback address.
    """
    whole = text.replace("PLACE", place).replace("DIR", str(tmp_path))
    listing = read(tmp_path, name, whole, list="/a.pem a.example\n")
    assert wires(listing) == [(f"https://{one}", "a.example") for one in authorities]
    assert (listing.notes == ()) == bool(authorities)


def test_nginx_variables_are_notes(tmp_path: Path) -> None:
    """
    A path that only the running server knows is no guess; its names are asked for all the same. The name of
    the server may be one of several.
    """
    text = (
        "http { server {\nlisten 443 ssl;\nserver_name a.example *.b.example;\n"
        "ssl_certificate /$x.pem;\nssl_certificate /${ssl_server_name}x/$x.pem;\n"
        "ssl_certificate /$ssl_server_name.pem;\n} }"
    )
    listing = read(tmp_path, "nginx.conf", text)
    assert files(listing.found) == ["/a.example.pem"]
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    why = "has a variable that only the running server knows"
    assert listing.notes == (
        f"{tmp_path}/nginx.conf, line 4: /$x.pem {why}",
        f"{tmp_path}/nginx.conf, line 5: /${{ssl_server_name}}x/$x.pem {why}",
    )


@pytest.mark.parametrize(
    ("name", "text", "url"),
    [
        (
            "apache2.conf",
            (
                "Listen 443\n<VirtualHost *:443>\nServerName a.example\nSSLEngine on\n"
                "SSLCertificateFile ${NONE}.pem\n</VirtualHost>\n"
            ),
            "https://127.0.0.1:443",
        ),
        ("haproxy.cfg", "frontend a\n bind :443 ssl crt-list DIR/list\n", "tls://127.0.0.1:443"),
        (
            "dovecot.conf",
            (
                "protocols = imap\nlisten = *\nlocal_name a.example {\n  ssl_cert = </%d.pem\n}\n"
                "service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n}\n"
            ),
            "imaps://127.0.0.1:993",
        ),
    ],
)
def test_names_without_a_known_file_are_asked_for(tmp_path: Path, name: str, text: str, url: str) -> None:
    """
    By all servers whose configuration has the names.
    """
    listing = read(tmp_path, name, text.replace("DIR", str(tmp_path)), list="${NONE}.pem a.example\n")
    assert files(listing.found) == []
    assert wires(listing) == [(url, "a.example")]
    assert len(listing.notes) == 1


WILDCARDS = {
    "haproxy.cfg": "frontend a\n bind :443 ssl crt-list DIR/list\n",
    "dovecot.conf": "protocols = imap\nlisten = *\nlocal_name *.wb.test {\n  ssl_cert = <DIR/cert.pem\n}\n"
    "service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n}\n",
    "Caddyfile": "*.wb.test {\n tls DIR/cert.pem DIR/key.pem\n}\n",
    "nginx.conf": "server { listen 443 ssl default_server; server_name a.example; ssl_certificate /a.pem; }\n"
    "server { listen 443 ssl; server_name *.wb.test; ssl_certificate cert.pem; }\n",
    "main.cf": "smtpd_tls_cert_file = /a.pem\nsmtpd_tls_security_level = may\n"
    "tls_server_sni_maps = hash:DIR/sni\n",
}


@pytest.mark.parametrize("server", WILDCARDS)
@pytest.mark.parametrize(
    ("on_certificate", "asked"),
    [
        (["wb.test", "*.other.test"], []),
        (["wb.test", "*.wb.test"], ["www.wb.test"]),
        (["wb.test", "*.wb.test", "other.test", "own.wb.test"], ["own.wb.test"]),
    ],
)
def test_a_wildcard_is_asked_for_by_a_name_that_fits_it(
    tmp_path: Path, ca: Minted, server: str, on_certificate: list[str], asked: list[str]
) -> None:
    """
    Any other name would get another certificate. One is made if the certificate has the wildcard too.
    """
    (tmp_path / "cert.pem").write_bytes(ca.issue("wildcard", on_certificate).pem)
    listing = read(
        tmp_path,
        server,
        WILDCARDS[server].replace("DIR", str(tmp_path)),
        list="cert.pem *.wb.test !no.wb.test\n",
        sni=f".wb.test {tmp_path}/cert.pem\n",
        master_cf="smtp inet n - y - - smtpd\n",
    )
    assert [name for _, name in wires(listing) if name.endswith(".test") or name == "wb.test"] == asked
    assert f"{tmp_path}/cert.pem" in files(listing.found)
    told = [one for one in listing.notes if "*.wb.test" in one and "is a wildcard" in one]
    assert len(told) == (0 if asked else 1)


def test_no_name_is_made_that_has_a_site_of_its_own(tmp_path: Path, ca: Minted) -> None:
    """
    It would be asked for there.
    """
    (tmp_path / "cert.pem").write_bytes(ca.issue("wildcard", ["*.wb.test"]).pem)
    text = (
        "server { listen 443 ssl; server_name *.wb.test; ssl_certificate cert.pem; }\n"
        "server { listen 443 ssl; server_name WWW.wb.test; ssl_certificate /other.pem; }\n"
    )
    assert [name for _, name in wires(read(tmp_path, "nginx.conf", text))] == ["any.wb.test", "www.wb.test"]


def test_haproxy_does_not_ask_for_what_a_list_excludes(tmp_path: Path, ca: Minted) -> None:
    """
    The next name that fits is taken.
    """
    (tmp_path / "cert.pem").write_bytes(ca.issue("wildcard", ["no.wb.test", "www.wb.test"]).pem)
    text = WILDCARDS["haproxy.cfg"].replace("DIR", str(tmp_path))
    listing = read(tmp_path, "haproxy.cfg", text, list="cert.pem *.wb.test !no.wb.test\n")
    assert wires(listing) == [("tls://127.0.0.1:443", "www.wb.test")]


def test_nginx_a_default_server_is_asked_for_by_any_name(tmp_path: Path, ca: Minted) -> None:
    """
    Also the first one, which is it if none is told to be.
    """
    (tmp_path / "cert.pem").write_bytes(ca.issue("wildcard", ["wb.test", "*.wb.test"]).pem)
    text = "server { listen 443 ssl; server_name *.wb.test; ssl_certificate cert.pem; }\n"
    assert wires(read(tmp_path, "nginx.conf", text)) == [("https://127.0.0.1:443", "wb.test")]


LUA = """
  content_by_lua_block { -- don't } {
    local text, long = "a } \\" {", [==[ } ]] " { ]==]
    --[[ } ' ]] if #text > 1 then ngx.say({ ["a;b"] = '}' }) end
  }"""


@pytest.mark.parametrize("before", ["location / {", "set_by_lua_block $x { return '}' }\nlocation / {"])
def test_nginx_blocks_of_lua_are_skipped(tmp_path: Path, before: str) -> None:
    """
    Braces in its comments and texts are none; what comes behind is found, with its line.
    """
    text = f"http {{ server {{ {before}{LUA} }} {GOOD[9:]}\n{site('b')} }}"
    listing = read(tmp_path, "nginx.conf", text)
    assert wires(listing) == [
        ("https://127.0.0.1:443", "a.example"),
        ("https://127.0.0.1:443", "b.example"),
    ]
    assert listing.found[-1].why.endswith(f"line {text[: text.index('server_name b')].count(chr(10)) + 1}")
    assert listing.notes == ()


def test_nginx_a_block_of_lua_that_is_not_closed(tmp_path: Path) -> None:
    """
    It ends with the file.
    """
    reason, listing = failing(tmp_path, "nginx.conf", f"http {{ {GOOD}\ninit_by_lua_block {{ x = '}}'\n")
    assert reason == f"{tmp_path}/nginx.conf, line 2: the file ends inside of a directive or block"
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]


def test_names_of_the_certificate_where_the_configuration_has_none(tmp_path: Path, ca: Minted) -> None:
    """
    Else nothing could be asked for.
    """
    (tmp_path / "own.pem").write_bytes(ca.issue("own", ["*.example", "own.example"]).pem)
    listing = read(
        tmp_path, "nginx.conf", "http { server { listen 443 ssl; server_name _; ssl_certificate own.pem; } }"
    )
    assert wires(listing) == [("https://127.0.0.1:443", "own.example")]


GOOD = "server { listen 443 ssl; server_name a.example; ssl_certificate /a.pem; }"


BAD = {"a_conf": "include nginx.conf;", "bin_conf": "\0\1", "bad_conf": "\n}", "open_conf": "server {"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("include bin.conf;", "DIR/bin.conf: this is not a text: it was passed over"),
        ("include none.conf;", "there is no file DIR/none.conf"),
        ("include /dev/zero;", "/dev/zero is a device: it was not opened"),
        ("include bad.conf;", "DIR/bad.conf, line 2: unexpected '}': the rest of the file was passed over"),
        (
            "include open.conf;",
            "DIR/open.conf, line 1: the file ends inside of a directive or block",
        ),
    ],
)
def test_bad_files_are_failures_and_the_rest_is_found(tmp_path: Path, text: str, fault: str) -> None:
    """
    With the file and the line.
    """
    reason, listing = failing(tmp_path, "nginx.conf", f"http {{ {text} {GOOD} }}", **BAD)
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    assert reason == fault.replace("DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "include nginx.conf;",
            "nginx.conf, line 1: DIR/nginx.conf includes itself: it was passed over here",
        ),
        ("include a.conf;", "a.conf, line 1: DIR/nginx.conf includes itself: it was passed over here"),
    ],
)
def test_loops_are_notes(tmp_path: Path, text: str, note: str) -> None:
    """
    Nothing of them is lost: the file is being read.
    """
    listing = read(tmp_path, "nginx.conf", f"http {{ {text} {GOOD} }}", **BAD)
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    assert [one for one in listing.notes if note.replace("DIR", str(tmp_path)) in one]


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is beyond too many files is not known.
    """
    monkeypatch.setattr(reading, "FILES_LIMIT", 2)
    many = {f"{letter}_conf": "" for letter in "abc"}
    reason, listing = failing(tmp_path, "nginx.conf", f"http {{ {GOOD} include *.conf; }}", **many)
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    assert "no more files are read" in reason


def site(name: str) -> str:
    """
    A site of nginx in a file of its own.
    """
    return f"server {{ listen 443 ssl; server_name {name}.example; ssl_certificate /{name}.pem; }}\n"


def again(paths: Sequence[str], before: Listing) -> tuple[str, Listing]:
    """
    The reason and the list of a run after one with this list, and after a restart.
    """
    with pytest.raises(SourceError) as raised:
        listed(paths, remembered=json.loads(json.dumps(before.remember)))
    assert raised.value.listing is not None
    return str(raised.value), raised.value.listing


@pytest.mark.parametrize("broken", ["syntax", "binary", "missing", "link", "pipe"])
def test_what_can_not_be_read_keeps_its_targets(tmp_path: Path, broken: str) -> None:
    """
    As they were last, also for more than one run; the others are as they are now.
    """
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.conf").write_text(site(name), "utf-8")
    paths = [f"{tmp_path}/one.conf", f"{tmp_path}/t*.conf"]
    before = listed(paths)
    path = tmp_path / "one.conf"
    path.unlink()
    if broken == "syntax":
        path.write_text("server {\n}}\n", "utf-8")
    elif broken == "binary":
        path.write_bytes(b"\0")
    elif broken == "link":
        path.symlink_to("none")
    elif broken == "pipe":
        os.mkfifo(path)
    (tmp_path / "two.conf").write_text(site("new"), "utf-8")
    (tmp_path / "three.conf").unlink()
    for _ in range(2):
        reason, before = again(paths, before)
        assert str(path) in reason
        assert [name for _, name in wires(before)] == ["one.example", "new.example"]
        assert files(before.found) == ["/one.pem", "/new.pem"]
    path.unlink(missing_ok=True)
    path.write_text(site("mended"), "utf-8")
    after = listed(paths, remembered=before.remember)
    assert [name for _, name in wires(after)] == ["mended.example", "new.example"]


def test_an_included_file_that_fails_keeps_what_the_main_file_had(tmp_path: Path) -> None:
    """
    What is still read of it is as it is now.
    """
    first = f"http {{ include a.conf; {site('own')} }}"
    before = read(tmp_path, "nginx.conf", first, a_conf=site("included"))
    (tmp_path / "a.conf").write_text("server {", "utf-8")
    (tmp_path / "nginx.conf").write_text(first.replace("own", "other"), "utf-8")
    reason, listing = again([f"{tmp_path}/nginx.conf"], before)
    assert "the file ends inside of a directive or block" in reason
    assert {name for _, name in wires(listing)} == {"included.example", "own.example", "other.example"}


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """
    A directory that others may look into: pytest's own are closed to them.
    """
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def shut(directory: Path) -> Iterator[None]:
    """
    Nobody may look into the directory, and this process is not root, who may.
    """
    us = os.geteuid()
    directory.chmod(0)
    try:
        if us == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(us)
        directory.chmod(0o700)


def test_a_directory_that_can_not_be_listed(open_to_all: Path) -> None:
    """
    No file of a pattern is seen then: they are not gone.
    """
    closed = open_to_all / "closed"
    closed.mkdir()
    (closed / "a.conf").write_text(site("a"), "utf-8")
    before = listed([f"{closed}/*"])
    with shut(closed):
        reason, listing = again([f"{closed}/*"], before)
    assert reason == f"{closed} can't be read: Permission denied"
    assert [name for _, name in wires(listing)] == ["a.example"]


VHOST = (
    "Listen 443\n<VirtualHost *:443>\nServerName a.example\nSSLEngine on\nSSLCertificateFile /a.pem\n"
    "</VirtualHost>\n"
)


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("nginx.conf", f"include DIR/*.conf; {GOOD}", "DIR"),
        ("nginx.conf", f"include DIR/a.conf; {GOOD}", "DIR/a.conf"),
        ("apache2.conf", f"IncludeOptional DIR/a.conf\n{VHOST}", "DIR/a.conf"),
        ("apache2.conf", f"IncludeOptional DIR/*.conf\n{VHOST}", "DIR"),
        ("apache2.conf", f"Include DIR/in\n{VHOST}", "DIR/in"),
        (
            "dovecot.conf",
            "!include_try DIR/a.conf\nlocal_name a.example {\nssl_cert = </a.pem\n}\n",
            "DIR/a.conf",
        ),
        ("Caddyfile", "import DIR/*\na.example {\n tls /a.pem /a.key\n}\n", "DIR"),
        ("haproxy.cfg", "frontend a\n bind :443 ssl crt /a.pem crt DIR/in\n", "line 2: DIR/in"),
    ],
)
def test_includes_that_may_not_be_seen(open_to_all: Path, name: str, text: str, place: str) -> None:
    """
    Also those that may be missing: only where it is certain are they. The rest is found.
    """
    closed = open_to_all / "closed"
    closed.mkdir()
    (open_to_all / name).write_text(text.replace("DIR", str(closed)), "utf-8")
    if "Optional" in text or "_try" in text:
        assert listed([str(open_to_all / name)]).found
    with shut(closed), pytest.raises(SourceError) as raised:
        listed([str(open_to_all / name)])
    assert f"{place} can't be read: Permission denied".replace("DIR", str(closed)) in str(raised.value)
    assert raised.value.listing is not None
    assert files(raised.value.listing.found) == ["/a.pem"]


def test_a_defect_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The others are read, and what the file had stays.
    """
    for name in ("one", "two"):
        (tmp_path / f"{name}.conf").write_text(site(name), "utf-8")
    before = listed([f"{tmp_path}/*.conf"])
    real = nginx.sites

    def faulty(path: str, reader: reading.Reader) -> list[reading.Site]:
        if path.endswith("one.conf"):
            raise IndexError
        return real(path, reader)

    for server, row in dict(source._READERS).items():
        monkeypatch.setitem(source._READERS, server, (faulty, *row[1:]))
    for known, names in ((Listing(), ["two.example"]), (before, ["one.example", "two.example"])):
        reason, listing = again([f"{tmp_path}/*.conf"], known)
        assert reason == f"{tmp_path}/one.conf: an internal error (IndexError): please report it with the log"
        assert [name for _, name in wires(listing)] == names


@pytest.mark.parametrize("remembered", [1, [], {"a": 1}, {"a": {"b": [1]}}, {"a": {"b": [[1, 2, 3, 4]]}}])
def test_what_another_version_remembers_is_nothing(tmp_path: Path, remembered: object) -> None:
    """
    The run is as the first one.
    """
    (tmp_path / "a.conf").write_text(site("a"), "utf-8")
    assert len(listed([str(tmp_path / "a.conf")], remembered=remembered).found) == 2


def test_apache_conditions_variables_and_addresses(tmp_path: Path) -> None:
    """
    What is not loaded or not defined does not count; a variable of Debian's `envvars` does.
    """
    reason, listing = failing(
        tmp_path,
        "apache2.conf",
        """Listen 443
Listen 192.0.2.1:8443 https
<IfModule ssl_module>
SSLCertificateFile /never.pem
</IfModule>
LoadModule ssl_module modules/mod_ssl.so
Define site www.example
<IfDefine !Missing>
<VirtualHost _default_:443 192.0.2.1:8443>
ServerName https://${site}:443
SSLEngine on
SSLCertificateFile ${CERTS}/a.pem
<Directory /x>
SSLCertificateFile /directory.pem
</Directory>
</VirtualHost>
</IfDefine>
IncludeOptional none.conf
<VirtualHost *:80>
ServerName plain.example
</VirtualHost>
<Oops
""",
        envvars="unset HOME\nexport SUFFIX=-x\nexport CERTS=/etc/ssl$SUFFIX\n",
    )
    assert wires(listing) == [
        ("https://127.0.0.1:443", "www.example"),
        ("https://192.0.2.1:8443", "www.example"),
    ]
    assert files(listing.found) == ["/etc/ssl-x/a.pem"]
    assert listing.notes == ()
    assert reason == (
        f"{tmp_path}/apache2.conf, line 22: syntax error at '<Oops': the rest of the file was passed over"
    )


def test_nginx_names_that_are_passed_on(tmp_path: Path) -> None:
    """
    Who is behind it presents a certificate for them at its address.
    """
    text = """stream {
map $ssl_preread_server_name $to {
  hostnames;
  a.example 127.0.0.1:8443;
  .b.example 127.0.0.1:8444;
  *.c.example 127.0.0.1:8445;
  ~^d unix:/d;
  default 127.0.0.1:8443;
}
map $remote_addr $other { e.example 1; }
server { listen 443; listen unix:/x; listen 443 udp; ssl_preread on; proxy_pass $to; }
server { listen 8440 proxy_protocol; ssl_preread on; proxy_pass $to; }
server { listen 8441; proxy_pass $to; }
server { listen 8442; ssl_preread on; proxy_pass $other; }
}
"""
    listing = read(tmp_path, "nginx.conf", text)
    assert wires(listing) == [
        (f"tls://127.0.0.1:{port}", name) for port in (443, 8440) for name in ("a.example", "b.example")
    ]
    assert [one.settings.get("proxy_protocol") for one in listing.found] == [None, None, "v1", "v1"]
    assert listing.notes == ()


def test_nginx_passes_on_by_what_is_said_for_all_of_a_stream(tmp_path: Path) -> None:
    """
    And by a variable that is a part of where it passes them.
    """
    text = """stream {
ssl_preread on;
map "${ssl_preread_server_name}" $host_of { a.example 127.0.0.2; default 127.0.0.3; }
map $ssl_preread_server_name { b.example x; }
map;
server { listen 443; proxy_pass ${host_of}:8443; }
server { listen 444; ssl_preread off; proxy_pass $host_of:8443; }
server { listen 445; proxy_pass 127.0.0.1:8443; }
}
"""
    listing = read(tmp_path, "nginx.conf", text)
    assert wires(listing) == [("tls://127.0.0.1:443", "a.example")]


def test_haproxy_names_that_are_passed_on(tmp_path: Path) -> None:
    """
    Those that get somewhere; of a part of a name it is told that nobody knows which there are.
    """
    text = """defaults
 mode tcp
frontend a
 bind :443
 bind :8443 accept-proxy
 acl first req.ssl_sni -i a.example
 acl first req.ssl_sni -i -f list
 acl apart req.ssl_sni,lower -m str b.example B2.Example
 acl below req.ssl_sni -m end .deep.example
 acl empty req.ssl_sni -m found
 acl unused req.ssl_sni -i unused.example
 acl mapped req.ssl_sni,lower,map_reg(file) -m found
 acl bad req.ssl_sni -i bad.example
 tcp-request content reject if bad
 tcp-request content reject unless { req_ssl_sni -i c.example } or first
 use_backend one if first !bad
 use_backend two if below or apart
 use_backend %[req.ssl_sni,map_dom(map,x)]
 use_backend %[req.ssl_sni,lower,map_str(map)] unless !empty
 use_backend %[req.ssl_sni,map(virt@names)]
 use_backend one if { req.ssl_sni -f opt@none } or { src 192.0.2.1 }
backend one
 use-server s if { req.ssl_sni d.example }
backend two
 use-server s if !{ req.ssl_sni e.example }
frontend silent
 bind ${WHERE}:444
 use_backend none if { dst_port 444 }
frontend terminated
 bind :445 ssl
 use_backend one if { req.ssl_sni f.example }
frontend web
 mode http
 bind :80
 use_backend one if { req.ssl_sni g.example }
listen straight
 bind ${WHERE}:446
 use-server s if { req.ssl_sni h.example }
"""
    files_of_it = {
        "list": "# some\nl1.example\n  l2.example\n",
        "map": "# one\n m.example one\n*.n.example x\n",
    }
    listing = read(tmp_path, "haproxy.cfg", text, **files_of_it)
    names = ["c.example", *("a.example", "l1.example", "l2.example"), "b.example", "b2.example", "m.example"]
    names.append("d.example")
    expected = {(f"tls://127.0.0.1:{port}", name) for port in (443, 8443) for name in names}
    assert {(one.url, one.settings["server_name"]) for one in listing.found if one.name} == expected
    assert {one.settings.get("proxy_protocol") for one in listing.found if ":8443" in one.url} == {"v1"}
    unknown = "which names there are is not known here"
    of_files = [f"{tmp_path}/haproxy.cfg: {one}: {unknown}" for one in ("virt@names", "opt@none")]
    others = [one for one in listing.notes if one not in of_files]
    assert len(listing.notes) - len(others) == len(of_files)
    assert [one.partition(", ")[2] for one in others] == [
        f"line 9: req.ssl_sni -m end .deep.example: {unknown}",
        f"line 12: req.ssl_sni,lower,map_reg(file) -m found: {unknown}",
        f"line 18: %[req.ssl_sni,map_dom(map,x)]: {unknown}",
        "line 37: bind ${WHERE}:446: its port is not understood",
    ]


def test_apache_directories_of_files(tmp_path: Path) -> None:
    """
    All that is below a directory is included, also where it is one of those that match a pattern.
    """
    host = "<VirtualHost *:443>\nServerName {0}.example\nSSLEngine on\nSSLCertificateFile {0}.pem\n"
    host += "</VirtualHost>\n"
    for name in ("sites/b", "sites/a/deep/c.conf", "more/d.d/d"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(host.format(path.name[0]), "utf-8")
    (tmp_path / "sites/a/loop").symlink_to("..")
    listing = read(tmp_path, "apache2.conf", "Listen 443\nInclude sites\nIncludeOptional more/*.d\n")
    assert [name for _, name in wires(listing)] == ["c.example", "b.example", "d.example"]
    (note,) = listing.notes
    assert "sites/a/loop includes itself" in note


@pytest.mark.parametrize("taken", ["127.0.0.1:443", "127.0.0.1", "127.0.0.1:*"])
def test_apache_a_host_of_its_own_for_loopback(tmp_path: Path, taken: str) -> None:
    """
    Whatever the name, it is presented there, and not what is for all addresses: that is seen elsewhere.
    """
    host = "<VirtualHost {0}>\nServerName {1}\nSSLEngine on\nSSLCertificateFile {1}.pem\n</VirtualHost>\n"
    text = "Listen 127.0.0.1:443\nListen 192.0.2.1:443\n"
    text += host.format("_default_:443", "all.example") + host.format(taken, "own.example")
    listing = read(tmp_path, "apache2.conf", text)
    assert wires(listing) == [
        ("https://192.0.2.1:443", "all.example"),
        ("https://127.0.0.1:443", "own.example"),
    ]
    assert len(files(listing.found)) == 2
    place = f"Apache, {tmp_path}/apache2.conf, line 3"
    words = "at 127.0.0.1:443 another site is presented instead"
    assert listing.notes == (f"{place}: {words}",)


def test_haproxy_lists_directories_and_modes(tmp_path: Path, ca: Minted) -> None:
    """
    Names of a list, files of a directory without keys, the base directory.
    """
    (tmp_path / "dir").mkdir()
    for name in ("one.pem", "two.pem"):
        (tmp_path / "dir" / name).write_bytes(ca.issue(name, [f"{name[:3]}.example"]).pem)
    (tmp_path / "dir" / "one.pem.key").write_text("", "ascii")
    listing = read(
        tmp_path,
        "haproxy.cfg",
        f"""global
 crt-base {tmp_path}
defaults
 mode http
frontend a
 bind :443,[::1]:444 ssl crt dir/ alpn "h2,http/1.1" # no more
frontend b
 bind *:853 ssl crt-list {tmp_path}/list accept-proxy
 mode tcp
frontend c
 bind "${{ADDRESS}}:443" ssl crt dir/one.pem
""",
        list="dir/one.pem [alpn h2] *.x.example named.example !not.example\n# none\n",
    )
    assert wires(listing) == [
        ("https://127.0.0.1:443", "one.example"),
        ("https://[::1]:444", "one.example"),
        ("https://127.0.0.1:443", "two.example"),
        ("https://[::1]:444", "two.example"),
        ("tls://127.0.0.1:853", "named.example"),
    ]
    assert files(listing.found) == [f"{tmp_path}/dir/one.pem", f"{tmp_path}/dir/two.pem"]
    assert listing.notes == (
        f"{tmp_path}/haproxy.cfg, line 11: bind ${{ADDRESS}}:443: its port is not understood",
    )


def test_postfix_variables_options_and_tables(tmp_path: Path, ca: Minted) -> None:
    """
    Values refer to each other, `-o` wins, a table has names of its own, and no key is a target.
    """
    (tmp_path / "mail.pem").write_bytes(ca.issue("mail", ["x.example", "mx.example"]).pem)
    listing = read(
        tmp_path,
        "main.cf",
        f"""myhostname = mx.$mydomain
mydomain = example
certs = {tmp_path}
smtpd_tls_chain_files =
  ${{certs}}/mail.key,
  ${{certs?$certs/mail.pem}}
smtpd_tls_security_level = may
inet_interfaces = loopback-only, 192.0.2.1
tls_server_sni_maps = texthash:{tmp_path}/sni
""",
        master_cf="""smtp inet n - y - - smtpd
submission inet n - y - - smtpd
  -o smtpd_tls_security_level=none
submissions inet n - y - - smtpd -o { smtpd_tls_wrappermode = yes } -o inet_interfaces=all
smtp unix - - y - - smtp
""",
        sni="other.example /k/other.key /c/other.pem\n",
    )
    assert wires(listing) == [
        ("smtp://127.0.0.1:25", "mx.example"),
        ("smtp://192.0.2.1:25", "mx.example"),
        ("smtp://127.0.0.1:25", "other.example"),
        ("smtp://192.0.2.1:25", "other.example"),
        ("smtps://127.0.0.1:465", "mx.example"),
        ("smtps://127.0.0.1:465", "other.example"),
    ]
    assert files(listing.found) == [f"{tmp_path}/mail.pem", "/c/other.pem"]


def test_dovecot_names_includes_and_protocols(tmp_path: Path, ca: Minted) -> None:
    """
    The usual listeners of the protocols that are on; `local_name` has a certificate of its own.
    """
    (tmp_path / "mail.pem").write_bytes(ca.issue("mail", ["mail.example"]).pem)
    listing = read(
        tmp_path,
        "dovecot.conf",
        """!include_try *.protocol
!include_try none.conf
ssl = required
local_name imap.example {
  ssl_cert = </c/imap.pem
}
!include ssl.conf
service imap-login {
  inet_listener imap {
    port = 0
  }
}
""",
        imap_protocol="protocols = $protocols imap\n",
        ssl_conf=f"ssl_cert = <{tmp_path}/mail.pem # ours\nssl_key = </never/read\n",
    )
    assert wires(listing) == [
        ("imaps://127.0.0.1:993", "mail.example"),
        ("imaps://127.0.0.1:993", "imap.example"),
    ]
    assert files(listing.found) == [f"{tmp_path}/mail.pem", "/c/imap.pem"]
    assert listing.notes == ()


@pytest.mark.parametrize(("everywhere", "imap", "pop3"), [("yes", "yes", "no"), ("no", "required", "no")])
def test_dovecot_what_a_protocol_says_itself(
    tmp_path: Path, ca: Minted, everywhere: str, imap: str, pop3: str
) -> None:
    """
    Its certificate is presented and none for all, and it may have TLS or none.
    """
    listing = read(
        tmp_path,
        "dovecot.conf",
        f"""protocols = imap pop3
listen = *
ssl = {everywhere}
ssl_cert = <{tmp_path}/all.pem
protocol imap {{
  ssl = {imap}
  ssl_cert = <{tmp_path}/imap.pem
}}
protocol pop3 {{
  ssl = {pop3}
}}
""",
        imap_pem=ca.issue("imap", ["imap.example"]).pem.decode(),
        all_pem=ca.issue("all", ["all.example"]).pem.decode(),
    )
    assert wires(listing) == [
        ("imap://127.0.0.1:143", "imap.example"),
        ("imaps://127.0.0.1:993", "imap.example"),
    ]
    assert files(listing.found) == [f"{tmp_path}/all.pem", f"{tmp_path}/imap.pem"]


def test_caddy_without_braces_and_with_variables(tmp_path: Path) -> None:
    """
    A file of one site; HTTP is left out; a variable of Caddy's environment has its default.
    """
    assert wires(read(tmp_path, "Caddyfile", "a.example, b.example:8443\nreverse_proxy :9000\n")) == [
        ("https://127.0.0.1:443", "a.example"),
        ("https://127.0.0.1:8443", "b.example"),
    ]
    other = read(
        tmp_path, "Caddyfile", "http://a.example {\n}\n:80 {\n}\n{$HOST:c.example} {\n tls {\n }\n}\n"
    )
    assert wires(other) == [("https://127.0.0.1:443", "c.example")]


def test_whose_file_it_is(tmp_path: Path) -> None:
    """
    By what is in it; what is nobody's is a note, and nothing at all an error.
    """
    assert wires(read(tmp_path, "site", GOOD)) == [("https://127.0.0.1:443", "a.example")]
    assert "it is not seen which server's file this is" in read(tmp_path, "other", "x = 1\n").notes[0]
    with pytest.raises(SourceError, match="no configuration could be read: nothing matches the paths"):
        listed([f"{tmp_path}/none*"])
    with pytest.raises(SourceError, match=r"there is no file .*/none") as raised:
        listed([str(tmp_path / "none")])
    assert raised.value.listing is None


def test_haproxy_bind_without_options(tmp_path: Path) -> None:
    """
    As beside nearly every `bind` with TLS, for the redirect.
    """
    listing = read(
        tmp_path,
        "haproxy.cfg",
        f"frontend www\n mode http\n bind *:80\n bind *:443 ssl crt-list {tmp_path}/list\n",
        list="/www.pem www.example\n",
    )
    assert wires(listing) == [("https://127.0.0.1:443", "www.example")]
    assert files(listing.found) == ["/www.pem"]
    assert listing.notes == ()


def test_nginx_what_one_server_says_of_an_address_is_so_for_all(tmp_path: Path) -> None:
    """
    However the address is written.
    """
    listing = read(
        tmp_path,
        "nginx.conf",
        """http { ssl_certificate all.pem;
        server { listen *:443 ssl proxy_protocol; server_name a.example; }
        server { listen 443; listen [::]:443; server_name b.example; }
        server { listen 0.0.0.0:444; server_name c.example; } }""",
    )
    assert [
        (one.settings["server_name"], one.settings.get("proxy_protocol")) for one in listing.found[1:]
    ] == [
        *(("a.example", "v1"), ("b.example", "v1")),
    ]


def test_apache_macros(tmp_path: Path) -> None:
    """
    Arguments, a parameter that begins another one, an include, and what is not there or uses itself.
    """
    listing = read(
        tmp_path,
        "apache2.conf",
        f"""Listen 443
        <Macro Site $name $names $file>
          <VirtualHost *:443>
            ServerName $name
            ServerAlias $names
            Use Keys $file
          </VirtualHost>
        </Macro>
        <macro keys %file>
          SSLEngine on
          SSLCertificateFile %file
          Include {tmp_path}/more.conf
          Use keys again
        </macro>
        <IfDefine NOT>
        <Macro gone>
        </Macro>
        </IfDefine>
        Use SITE www.example "a.example b.example" /www.pem
        use Site other.example c.example /other.pem
        Use gone
        UndefMacro Site
        """,
        more_conf="ServerAlias more.example\n",
    )
    assert wires(listing) == [
        *(("https://127.0.0.1:443", f"{name}.example") for name in ("www", "a", "b", "more")),
        *(("https://127.0.0.1:443", f"{name}.example") for name in ("other", "c")),
        # It has that name too.
    ]
    assert files(listing.found) == ["/www.pem", "/other.pem"]
    assert [note.partition(": ")[2] for note in listing.notes] == [
        "the macro keys uses itself: passed over",
        "the macro keys uses itself: passed over",
        "the macro gone is defined nowhere before: passed over",
    ]
    with pytest.raises(SourceError, match="<macro> is not closed"):
        read(tmp_path, "apache2.conf", "<Macro a>\nUse b\nListen 1\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "apache2.conf",
            "".join(f"<Macro m{one}>\n{f'Use m{one + 1} x{chr(10)}' * 10}</Macro>\n" for one in range(12))
            + "<Macro m12>\n# end\n</Macro>\nUse m0\n",
        ),
        (
            "Caddyfile",
            "".join(f"(s{one}) {{\n{f'import s{one + 1}{chr(10)}' * 10}}}\n" for one in range(12))
            + "(s12) {\n}\na.example {\nimport s0\ntls /a.pem /a.key\n}\n",
        ),
    ],
)
def test_macros_that_multiply_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """
    Twelve of ten lines each would be a million million.
    """
    monkeypatch.setattr(reading, "EXPANDED_LIMIT", 2000)
    with pytest.raises(SourceError, match="make more than 2,000 lines"):
        read(tmp_path, name, text)


def test_apache_domains_of_mod_md(tmp_path: Path, ca: Minted) -> None:
    """
    The certificates that it fetched are in its store, by the first name of the domain.
    """
    kept = tmp_path / "md/domains/a.example"
    kept.mkdir(parents=True)
    (kept / "pubcert.pem").write_bytes(ca.issue("a.example", ["a.example"]).chain_pem)
    listing = read(
        tmp_path,
        "apache2.conf",
        """Listen 443
        MDomain A.example b.example
        <MDomainSet c.example>
          MDMember d.example
        </MDomainSet>
        <IfModule mod_none.c>
          <MDomain none.example>
          </MDomain>
        </IfModule>
        SSLEngine on
        <VirtualHost *:443>
          ServerName b.example
        </VirtualHost>
        <VirtualHost *:443>
          ServerName c.example
        </VirtualHost>
        <VirtualHost *:443>
          ServerName none.example
        </VirtualHost>
        """,
    )
    assert wires(listing) == [("https://127.0.0.1:443", "b.example"), ("https://127.0.0.1:443", "c.example")]
    assert files(listing.found) == [f"{kept}/pubcert.pem"]
    assert listing.notes == ()


def test_haproxy_environment_and_stores(tmp_path: Path) -> None:
    """
    What the configuration itself sets, defaults, and certificates by the names that a store gives them.
    """
    listing = read(
        tmp_path,
        "haproxy.cfg",
        """global
          setenv CERTS /certs
          presetenv PORT 8443
        crt-store web
          crt-base /web
          load crt "site.pem" key "site.key" alias "site"
          load crt other.pem
        crt-store
          load crt "/none.pem" alias none
        frontend a
          mode http
          bind "*:${PORT}" ssl crt "${CERTS}/a.pem" default-crt "$CERTS/b.pem" crt "@web/site"
          bind :1 ssl crt @web/other.pem crt "@/none" crt "@web/gone" crt "${NO-/usual}/c.pem" crt "${NO}/d"
        """,
    )
    assert files(listing.found) == [
        *("/certs/a.pem", "/certs/b.pem", "/web/site.pem", "/web/other.pem", "/none.pem", "/usual/c.pem"),
    ]
    unknown = [note for note in listing.notes if "is not known here" in note]
    assert [note.partition("crt ")[2].partition(":")[0] for note in unknown] == ["@web/gone", "${NO}/d"]


def test_caddy_blocks_routes_and_texts(tmp_path: Path) -> None:
    """
    A snippet that is given a block, a named route, and a text whose braces are none.
    """
    listing = read(
        tmp_path,
        "Caddyfile",
        """{
          debug
        }
        &(route) {
          respond ok
        }
        (site) {
          header x y
          {block}
          tls {args[0]} /key
        }
        (both) {
          import site /inner.pem {
            log
          }
        }
        a.example {
          import site /a.pem {
            handle {
              respond <<END
                { { braces
                END 200
            }
          }
        }
        b.example {
          import both
        }
        """,
    )
    assert wires(listing) == [
        *(("https://127.0.0.1:443", "a.example"), ("https://127.0.0.1:443", "b.example")),
    ]
    assert files(listing.found) == ["/a.pem", "/inner.pem"]
    assert listing.notes == ()


def test_dovecot_lists_of_version_2_4(tmp_path: Path) -> None:
    """
    Protocols as a section, addresses by spaces, and the PROXY protocol of a listener.
    """
    listing = read(
        tmp_path,
        "dovecot.conf",
        """dovecot_config_version = 2.4.1
        protocols {
          imap = yes
          pop3 = no
        }
        listen = 192.0.2.1 ::1
        haproxy_trusted_networks = 192.0.2.0/24 ::1
        ssl_server_cert_file = /mail.pem
        service imap-login {
          inet_listener imap {
            port = 0
          }
          inet_listener proxied {
            port = 10993
            ssl = yes
            haproxy = yes
          }
        }
        local_name mail.example {
          ssl_server_cert_file = /named.pem
        }
        """,
    )
    assert [(one.url, one.settings) for one in listing.found if one.url.startswith("imap")] == [
        ("imaps://192.0.2.1:993", {"server_name": "mail.example"}),
        ("imaps://[::1]:993", {"server_name": "mail.example"}),
        *(
            (f"imaps://{host}:10993", {"server_name": "mail.example", "proxy_protocol": "v1"})
            for host in ("192.0.2.1", "[::1]")
        ),
    ]
    assert files(listing.found) == ["/mail.pem", "/named.pem"]


def test_postfix_files_of_keys_among_chains(tmp_path: Path) -> None:
    """
    By their names: they are not opened.
    """
    chains = ["/privkey.pem", "/rsa.KEY", "/server-key1.pem", "/keycloak.example.pem", "/fullchain.pem"]
    main = f"smtp_tls_chain_files = {', '.join(chains)}\n"
    assert files(read(tmp_path, "main.cf", main, master_cf="").found) == chains[3:]


def test_postfix_postscreen(tmp_path: Path, ca: Minted) -> None:
    """
    It presents the certificates of the service behind it, which listens nowhere.
    """
    (tmp_path / "mail.pem").write_bytes(ca.issue("mail", ["mail.example"]).chain_pem)
    master = (
        "2525 inet n - y - 1 postscreen\n2526 inet n - y - 1 postscreen\n"
        "  -o postscreen_tls_security_level=none\nsmtpd pass - - y - - smtpd\n"
        "tlsproxy unix - - y - 0 tlsproxy\n"
    )
    main = f"smtpd_tls_cert_file = {tmp_path}/mail.pem\nsmtpd_tls_security_level = may\n"
    listing = read(tmp_path, "main.cf", main, master_cf=master)
    assert wires(listing) == [("smtp://127.0.0.1:2525", "mail.example")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nginx.conf", "server { listen 443 ssl; server_name NAMES; ssl_certificate /a.pem; }"),
        (
            "httpd.conf",
            "Listen 1\nSSLEngine on\nSSLCertificateFile x\nServerAlias NAMES",
        ),
        ("haproxy.cfg", "frontend a\n mode http\n bind :443 ssl crt-list DIR/list\n"),
        ("Caddyfile", "COMMAS {\n tls /a.pem /a.key\n}\n"),
        (
            "dovecot.conf",
            "protocols = imap\nssl_cert = </a.pem\nlocal_name NAMES {\n ssl_cert = </b.pem\n}\n",
        ),
    ],
)
def test_names_of_any_kind(tmp_path: Path, name: str, text: str) -> None:
    """
    IDN and underscores are asked for; wildcards, names that are too long, and what is none are not.
    """
    long, label = ".".join(["a" * 60] * 4) + ".bbbbbbbbbb", "c" * 64
    names = ["bücher.example", "a_b.example", "*.w.example", long, f"{label}.example", "a..b", "Ok.example."]
    whole = text.replace("NAMES", " ".join(names)).replace("COMMAS", ", ".join(names))
    listing = read(tmp_path, name, whole.replace("DIR", str(tmp_path)), list=f"/a.pem {' '.join(names)}\n")
    asked = dict.fromkeys(sent for _, sent in wires(listing))
    assert list(asked) == ["xn--bcher-kva.example", "a_b.example", "ok.example"]
    config = parse(b"discover: [web_servers: /x]", "expiry.yml", {})
    assert made(listing.found, config.discover[0], config).notes == ()


def test_caddy_what_stands_in_inner_blocks_is_of_these(tmp_path: Path, ca: Minted) -> None:
    """
    The `tls` to a server behind it is not the site's, the `root` of an internal authority not the store's.
    """
    store = tmp_path / "store/certificates/acme/a.example"
    store.mkdir(parents=True)
    (store / "a.example.crt").write_bytes(ca.pem)
    listing = read(
        tmp_path,
        "Caddyfile",
        f"""{{
 auto_https off
 storage file_system {{
  root {tmp_path}/store
 }}
 pki {{
  ca corp {{
   root {{
    cert /ca.pem
   }}
  }}
 }}
}}
plain.example:8080 {{
 reverse_proxy https://up.example {{
  transport http {{
   tls
   tls_client_auth /client.pem /client.key
  }}
 }}
}}
a.example {{
 tls internal
}}
""",
    )
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    assert files(listing.found) == ["/client.pem", f"{store}/a.example.crt"]


def test_haproxy_certificates_of_a_whole_frontend(tmp_path: Path, ca: Minted) -> None:
    """
    `ssl-f-use` of version 3.2 is for each `bind` with TLS; `default-bind` is for all of a section.
    """
    (tmp_path / "a.pem").write_bytes(ca.issue("a", ["a.example"]).pem)
    text = """global
 ca-base /cas
 default-path origin DIR
 stats socket ipv4@127.0.0.1:9999 level admin ssl crt a.pem
crt-store web
 load crt a.pem alias a acme LE domains "a.example"
defaults
 mode http
 default-server ssl crt client.pem
frontend a
 bind :443 ssl alpn h2
 bind 192.0.2.7:8443 ssl
 bind :80
 ssl-f-use crt "@web/a" ssl-min-ver TLSv1.2 ca-file ca.pem crl-file revoked.pem verify required
 ssl-f-use crt "${NONE}"
 crt-what x
peers all
 default-bind ssl crt a.pem
 bind :1024
"""
    (tmp_path / "haproxy").mkdir()
    listing = read(tmp_path / "haproxy", "haproxy.cfg", text.replace("DIR", str(tmp_path)))
    assert wires(listing) == [
        *(("tls://127.0.0.1:9999", "a.example"), ("https://127.0.0.1:443", "a.example")),
        *(("https://192.0.2.7:8443", "a.example"), ("tls://127.0.0.1:1024", "a.example")),
    ]
    assert files(listing.found) == [f"{tmp_path}/a.pem", f"{tmp_path}/client.pem", "/cas/revoked.pem"]
    whys = {one.url.rpartition("/")[2]: one.why.partition(",")[0] for one in listing.found}
    assert whys["client.pem"] == "certificate of HAProxy's client"
    assert whys["revoked.pem"] == "list of what is revoked of HAProxy"
    assert [one.partition(", line ")[2] for one in listing.notes] == [
        "16: crt-what is not understood: what it may name is not looked at",
        "15: crt ${NONE}: its variable or store of certificates is not known here",
    ]


def test_haproxy_the_certificate_for_all_others(tmp_path: Path, ca: Minted) -> None:
    """
    With `!*` in a list none of its names chooses it. With `strict-sni` nobody gets it.
    """
    (tmp_path / "a.pem").write_bytes(ca.issue("a", ["a.example"]).pem)
    text = "frontend a\n bind :1 ssl crt-list list\n bind :2 ssl strict-sni crt-list list\n"
    listing = read(tmp_path, "haproxy.cfg", text, list="a.pem !*\n")
    assert wires(listing) == [("tls://127.0.0.1:1", "a.example")]
    assert len(listing.notes) == 1


@pytest.mark.parametrize(
    ("name", "text", "directive"),
    [
        ("nginx.conf", "http { server { ssl_certificate_by_lua_file x; } }", "ssl_certificate_by_lua_file"),
        ("httpd.conf", "Listen 1\nGnuTLSCertificateFile x\n", "GnuTLSCertificateFile"),
        ("main.cf", "tlsproxy_tls_cert_file = /x\n", "tlsproxy_tls_cert_file"),
        ("dovecot.conf", "what_cert = </x\n", "what_cert"),
    ],
)
def test_certificates_that_are_not_understood_are_told(
    tmp_path: Path, name: str, text: str, directive: str
) -> None:
    """
    By the names of their directives; the usual ones of keys and of CAs to trust are none.
    """
    known = {
        "nginx.conf": "ssl_certificate_key a; proxy_ssl_trusted_certificate a; ssl_client_certificate a;",
        "httpd.conf": "SSLCertificateKeyFile a\nSSLCACertificatePath a\nMDCertificateProtocol ACME\n",
        "main.cf": "smtpd_tls_ask_ccert = yes\nmy_cert_file = x\n",
        "dovecot.conf": "ssl_verify_client_cert = yes\nssl_request_client_cert = yes\n",
    }
    listing = read(tmp_path, name, text + known[name], master_cf="")
    (note,) = (one for one in listing.notes if "not understood" in one)
    assert note.endswith(f": {directive} is not understood: what it may name is not looked at")


def test_both_types_of_key_of_one_name(tmp_path: Path, ca: Minted) -> None:
    """
    Both are asked for, however the configuration names them: most clients get one of them only.
    """
    for name, key in (("rsa", "rsa-2048"), ("ecdsa", "ecdsa-256")):
        (tmp_path / f"{name}.pem").write_bytes(ca.issue("a", ["a.example"], key=key).pem)
    text = "frontend a\n bind :1 ssl crt rsa.pem crt ecdsa.pem\n bind :2 ssl crt rsa.pem crt rsa.pem\n"
    listing = read(tmp_path, "haproxy.cfg", f"{text} bind quic4@:3 ssl crt rsa.pem crt ecdsa.pem\n")
    keys = {one.url: one.settings.get("keys") for one in listing.found if not one.url.startswith("file:")}
    assert keys == {"tls://127.0.0.1:1": "both", "tls://127.0.0.1:2": None, "h3://127.0.0.1:3": None}


def test_apache_members_of_a_domain_of_mod_md(tmp_path: Path) -> None:
    """
    They stand in its section too. A certificate that mod_md is given is a file.
    """
    (tmp_path / "md/domains/a.example").mkdir(parents=True)
    (tmp_path / "md/domains/a.example/pubcert.pem").touch()
    listing = read(
        tmp_path,
        "httpd.conf",
        """Listen 443
<MDomainSet a.example>
 MDMember b.example
 MDCertificateFile /static.pem
</MDomainSet>
<VirtualHost *:443>
ServerName b.example
SSLEngine on
</VirtualHost>
""",
    )
    assert wires(listing) == [("https://127.0.0.1:443", "b.example")]
    assert files(listing.found) == [f"{tmp_path}/md/domains/a.example/pubcert.pem", "/static.pem"]


def test_caddy_arguments_of_a_snippet_by_their_range(tmp_path: Path) -> None:
    """
    Since version 2.7.
    """
    text = "(site) {\n{args[0]} {\ntls {args[1:]}\n}\n}\nimport site a.example a.pem /a.key\n"
    listing = read(tmp_path, "Caddyfile", text)
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    assert files(listing.found) == [f"{tmp_path}/a.pem"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '{"apps": []}', '{"apps": {"http": {"servers": [1]}, "tls": 5}}'),
        '{"apps": {"http": {"servers": {"a": {"listen": [1, "x", ":0"], "routes": [{"match": 3}, 4]}}}}}',
        '{"apps": {"tls": {"certificates": {"load_files": [{}, 1], "load_folders": [null]}}}}',
    ],
)
def test_caddy_json_of_another_form(tmp_path: Path, text: str) -> None:
    """
    It has nothing.
    """
    assert read(tmp_path, "caddy.json", text).found == ()


def test_caddy_json_as_people_write_it(tmp_path: Path, ca: Minted) -> None:
    """
    A certificate is for the servers whose policies choose it, for those without names, or chosen by names.
    """
    for name in ("own", "tagged", "client"):
        (tmp_path / f"{name}.pem").write_bytes(ca.issue(name, [f"{name}.example"]).pem)
    named = [{"match": [{"host": ["a.example", "a.example"]}], "handle": []}]
    proxy = {"handler": "reverse_proxy", "transport": {"tls": {"client_certificate_file": "client.pem"}}}
    policy = {"certificate_selection": {"any_tag": ["x"]}}
    files_of = [{"certificate": "own.pem"}, {"certificate": "tagged.pem", "tags": ["x"]}]
    files_of.append({"certificate": "{env.X}"})
    servers = {
        "named": {"listen": [":443", "tcp/127.0.0.1:8443-8444", "unix//run/x", "udp/:443"], "routes": named},
        "nameless": {"listen": ["192.0.2.7:1"], "tls_connection_policies": [{}]},
        "tagged": {"listen": [":2"], "routes": named, "tls_connection_policies": [policy]},
        "plain": {"listen": [":3"], "routes": named, "automatic_https": {"disable": True}},
        "http": {
            "listen": [":80", ":x"],
            "routes": [*named, {"handle": [{"routes": [{"handle": [proxy]}]}]}],
        },
    }
    certificates = {"load_files": files_of, "load_folders": ["none"]}
    text = json.dumps({"apps": {"http": {"servers": servers}, "tls": {"certificates": certificates}}})
    listing = read(tmp_path, "caddy.json", text)
    assert wires(listing) == [
        *((f"https://127.0.0.1:{port}", "a.example") for port in (443, 8443, 8444, 2)),
        *(("https://192.0.2.7:1", "own.example"), ("https://127.0.0.1:2", "tagged.example")),
    ]
    assert files(listing.found) == [f"{tmp_path}/{name}.pem" for name in ("own", "tagged", "client")]
    assert [one.partition("caddy.json: ")[2] for one in listing.notes] == [
        "listen :x: its port is not understood",
        "{env.X} has a variable that only the running server knows",
    ]


def test_caddy_json_that_is_none(tmp_path: Path) -> None:
    """
    Nothing says that its sites are gone.
    """
    (tmp_path / "caddy.json").write_text('{"apps": ')
    with pytest.raises(SourceError, match="it is not JSON: Expecting value"):
        listed([str(tmp_path / "caddy.json")])


def test_dovecot_a_certificate_of_one_address(tmp_path: Path) -> None:
    """
    Also within the section of a protocol, and with a name.
    """
    listing = read(
        tmp_path,
        "dovecot.conf",
        """protocols = imap pop3
ssl_cert = </all.pem
local 192.0.2.7 {
  protocol imap {
    local_name a.example {
      ssl_cert = </own.pem
    }
  }
}
""",
    )
    assert [(url, name) for url, name in wires(listing) if name == "a.example"] == [
        *(("imap://192.0.2.7:143", "a.example"), ("imaps://192.0.2.7:993", "a.example")),
    ]


def test_haproxy_defaults_that_have_names(tmp_path: Path) -> None:
    """
    A section has the mode of those that it is `from`, else of the last ones; each begins anew.
    """
    text = """defaults web
 mode http
defaults other from web
defaults plain
frontend a from web
 bind :1 ssl crt /a.pem
frontend b
 bind :2 ssl crt /a.pem
frontend c from other
 bind :3 ssl crt /a.pem
frontend d from plain
 bind :4 ssl crt /a.pem
 mode http
"""
    listing = read(
        tmp_path,
        "haproxy.cfg",
        text.replace("/a.pem", f"{tmp_path}/list").replace("crt ", "crt-list "),
        list="/www.pem www.example\n",
    )
    assert [url for url, _ in wires(listing)] == [
        "https://127.0.0.1:1",
        "tls://127.0.0.1:2",
        "https://127.0.0.1:3",
        "https://127.0.0.1:4",
    ]


def test_apache_a_file_of_sites_alone_says_what_is_missing(tmp_path: Path) -> None:
    """
    Its addresses are in the main file. A certificate in a token is no file.
    """
    (tmp_path / "apache2").mkdir()
    text = """<IfModule mod_ssl.c>
<VirtualHost *:443>
SSLEngine on
SSLCertificateFile /a.pem
</VirtualHost>
</IfModule>
<VirtualHost *:443>
ServerName b.example
SSLEngine on
SSLCertificateFile pkcs11:token=web;object=b
</VirtualHost>
"""
    listing = read(tmp_path / "apache2", "site.conf", text)
    assert listing.found == ()
    place = tmp_path / "apache2/site.conf"
    why = "it has no `Listen`, so nothing is known to be presented: name the server's main file instead"
    assert listing.notes == (
        f"{place}: {why}",
        f"{place}, line 7: pkcs11:token=web;object=b is in a token, and no file",
    )
