"""
What is understood of configurations, and what bad input becomes. No server runs.
"""

from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.discovery.base import Listing, SourceError
from exporter.discovery.web_servers import reading
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
    (proxied,) = [one for one in listing.found if "proxy_protocol" in one.settings]
    assert proxied.settings == {"server_name": "d.example", "proxy_protocol": "v1"}
    assert proxied.why == f"name in nginx, {tmp_path}/nginx.conf, line 4"


def test_nginx_variables_are_notes(tmp_path: Path) -> None:
    """
    A path that only the running server knows is no guess.
    """
    text = (
        "http { server {\nlisten 443 ssl;\nserver_name a.example;\n"
        "ssl_certificate /$ssl_server_name.pem;\n} }"
    )
    listing = read(tmp_path, "nginx.conf", text)
    assert listing.found == ()
    assert listing.notes[0] == (
        f"{tmp_path}/nginx.conf, line 4: /$ssl_server_name.pem has a variable "
        "that only the running server knows"
    )


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


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "include nginx.conf;",
            "nginx.conf, line 1: DIR/nginx.conf includes itself: it was passed over here",
        ),
        ("include a.conf;", "a.conf, line 1: DIR/nginx.conf includes itself: it was passed over here"),
        ("include bin.conf;", "bin.conf: this is not a text: it was passed over"),
        ("include none.conf;", "there is no file DIR/none.conf"),
        ("include /dev/zero;", "/dev/zero is a device: it was not opened"),
        ("include bad.conf;", "bad.conf, line 2: unexpected '}': the rest of the file was passed over"),
        ("include open.conf;", "open.conf, line 1: the file ends inside"),
    ],
)
def test_bad_files_are_notes_and_the_rest_is_found(tmp_path: Path, text: str, note: str) -> None:
    """
    With the file and the line.
    """
    whole = f"http {{ {text} {GOOD} }}"
    listing = read(
        tmp_path,
        "nginx.conf",
        whole,
        a_conf="include nginx.conf;",
        bin_conf="\0\1",
        bad_conf="\n}",
        open_conf="server {",
    )
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    assert [one for one in listing.notes if note.replace("DIR", str(tmp_path)) in one]


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Too many files, and one that is too large, are notes.
    """
    monkeypatch.setattr(reading, "FILES_LIMIT", 2)
    many = {f"{letter}_conf": "" for letter in "abc"}
    listing = read(tmp_path, "nginx.conf", f"http {{ {GOOD} include *.conf; }}", **many)
    assert wires(listing) == [("https://127.0.0.1:443", "a.example")]
    assert any("no more files are read" in note for note in listing.notes)


def test_apache_conditions_variables_and_addresses(tmp_path: Path) -> None:
    """
    What is not loaded or not defined does not count; a variable of Debian's `envvars` does.
    """
    listing = read(
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
    assert listing.notes == (
        f"{tmp_path}/apache2.conf, line 21: syntax error at '<Oops': the rest of the file was passed over",
    )


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
    with pytest.raises(SourceError, match="no configuration could be read"):
        listed([str(tmp_path / "none")])


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
