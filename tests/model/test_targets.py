"""
Targets: what a URL may be, and which name is sent and verified.
"""

import ipaddress
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.hosts import TargetError, join_host_port, normal_host, parse_ip
from exporter.model.schemes import SCHEMES, Form
from exporter.model.targets import USUAL_PATIENCE, Target
from exporter.model.urls import Url, parse_url
from exporter.probes.tls.starttls import DIALOGUES

GOOD_URLS = {
    # URL: host, port, authority
    "https://a.example": ("a.example", 443, "a.example:443"),
    "https://a.example/": ("a.example", 443, "a.example:443"),
    "https://a.example:8443": ("a.example", 8443, "a.example:8443"),
    "https://a.example:": ("a.example", 443, "a.example:443"),
    "https://a.example:1": ("a.example", 1, "a.example:1"),
    "https://a.example:65535/": ("a.example", 65535, "a.example:65535"),
    "https://a.example:00443": ("a.example", 443, "a.example:443"),
    "tls://a.example:636": ("a.example", 636, "a.example:636"),
    "https://localhost": ("localhost", 443, "localhost:443"),
    "HTTPS://A.Example": ("a.example", 443, "a.example:443"),
    "https://a.example.": ("a.example", 443, "a.example:443"),
    "https://a_b.example": ("a_b.example", 443, "a_b.example:443"),
    "https://_dmarc.example": ("_dmarc.example", 443, "_dmarc.example:443"),
    "https://a--b.example": ("a--b.example", 443, "a--b.example:443"),
    "https://1.example": ("1.example", 443, "1.example:443"),
    f"https://{'a' * 63}.example": (f"{'a' * 63}.example", 443, f"{'a' * 63}.example:443"),
    # Internationalised names (RFC 5891); the full stop of other scripts is a full stop (UTS 46)
    "https://bücher.example": ("xn--bcher-kva.example", 443, "xn--bcher-kva.example:443"),
    "https://BÜCHER.example": ("xn--bcher-kva.example", 443, "xn--bcher-kva.example:443"),
    "https://bücher.example.:8443": ("xn--bcher-kva.example", 8443, "xn--bcher-kva.example:8443"),
    "https://xn--bcher-kva.example": ("xn--bcher-kva.example", 443, "xn--bcher-kva.example:443"),
    "https://faß.example": ("xn--fa-hia.example", 443, "xn--fa-hia.example:443"),
    "https://例え。jp": ("xn--r8jz45g.jp", 443, "xn--r8jz45g.jp:443"),
    # Addresses
    "https://192.0.2.1": ("192.0.2.1", 443, "192.0.2.1:443"),
    "tls://192.0.2.1:1": ("192.0.2.1", 1, "192.0.2.1:1"),
    "https://\uff11\uff19\uff12.0.2.1": ("192.0.2.1", 443, "192.0.2.1:443"),
    "https://[2001:db8::1]": ("2001:db8::1", 443, "[2001:db8::1]:443"),
    "https://[2001:DB8:0:0::1]:8443": ("2001:db8::1", 8443, "[2001:db8::1]:8443"),
    "https://[fe80::1%25eth0]": ("fe80::1%eth0", 443, "[fe80::1%eth0]:443"),
    "https://[fe80::1%eth0]:1": ("fe80::1%eth0", 1, "[fe80::1%eth0]:1"),
}


@pytest.mark.parametrize("text", GOOD_URLS)
def test_a_url_in_its_parts(text: str) -> None:
    """
    Hosts are lower-case A-labels or addresses in their usual form; the text stays as written.
    """
    url = parse_url(text)
    assert (url.host, url.port, url.authority) == GOOD_URLS[text]
    assert url.text == text
    assert url.scheme == text.partition(":")[0].lower()


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("https://192.0.2.1", ipaddress.ip_address("192.0.2.1")),
        ("https://[2001:db8::1]", ipaddress.ip_address("2001:db8::1")),
        ("https://[::ffff:192.0.2.1]", ipaddress.ip_address("::ffff:c000:201")),
        ("https://[fe80::1%25eth0]", ipaddress.ip_address("fe80::1%eth0")),
        ("https://a.example", None),
    ],
)
def test_the_address_of_a_url(text: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> None:
    """
    None for a name.
    """
    assert parse_url(text).ip == ip


def test_spaces_around_a_url_are_dropped() -> None:
    """
    A YAML block scalar ends with a line end.
    """
    assert parse_url(" https://a.example\n") == parse_url("https://a.example")


USERINFO = "a target's URL must not contain a user name or a password, so no '@'"
PRINTABLE = "is not a URL: it has a space or an unprintable character in it"
LISTED = "`expiry-exporter check --help` lists every scheme"
OTHER = f"or another scheme. {LISTED}"
WINDOWS = "it looks like a path of Windows, write where the file is on this host, like file://"
WHOLE = "write the whole path of a file, file:///DIRECTORY/certs/web.pem"
NO_FILE = "write the whole path of a file, file:///DIRECTORY/FILE"
EITHER = "write file:///certs/web.pem or file:///DIRECTORY/certs/web.pem, the whole path of the file"
THIRD = "file:// takes a whole path, which begins with a third slash"
QUOTED = "\N{RIGHT DOUBLE QUOTATION MARK}"
AROUND = "quotes and brackets are around it, write https://a.example"
BEGIN = f"a URL begins with one, such as https://www.example.com. {LISTED}"
PATTERN = "a pattern is no host, name each host (`expiry-exporter discover` finds some)"
BEHIND = f"a port stands behind its host, as in www.example.com:8443. {LISTED}"


PORTS = "is not a port: ports are numbers from 1 to 65535"
BAD_URLS = {
    "": f"'' has no scheme: {BEGIN}",
    "domian:a.example": f"'domian:a.example' has no scheme: did you mean domain:a.example? {LISTED}",
    "https//a.example": "'https//a.example' has no scheme: a colon is missing, write https://a.example. "
    + LISTED,
    **{
        text: f"'{text}' has no scheme: a colon is missing, write {url}. {LISTED}"
        for text, url in (
            ("http//a.example/b?c", "https://a.example"),
            ("wss//a.example", "https://a.example"),
            ("redis//192.0.2.1", "rediss://192.0.2.1"),
            ("postgresql//a.example:1/b", "postgres://a.example:1"),
            ("mqtts//a.example", "tls://a.example:PORT"),
            ("tls//a.example:1", "tls://a.example:1"),
            ("whois//a.example", "domain:a.example"),
        )
    },
    "/etc/a.pem": f"'/etc/a.pem' has no scheme: write file:///etc/a.pem. {LISTED}",
    "a.example": f"'a.example' has no scheme: write https://a.example, {OTHER}",
    "a.example:443": f"'a.example:443' has no scheme: write https://a.example, {OTHER}",
    "a.example:25": f"'a.example:25' has no scheme: write smtp://a.example, {OTHER}",
    "a.example:8443": f"'a.example:8443' has no scheme: write tls://a.example:8443, {OTHER}",
    "a.example/path": f"'a.example/path' has no scheme: write https://a.example, {OTHER}",
    "2001:db8::1": f"'2001:db8::1' has no scheme: write https://[2001:db8::1], {OTHER}",
    "url:https://a.example": (
        "'url:https://a.example' has no scheme: write https://a.example (where `url` is a key, a space is "
        f"missing behind its colon). {LISTED}"
    ),
    **{
        text: f"'{text}' has no scheme: write {url}, or another scheme (where `url` is a key, "
        f"a space is missing behind its colon). {LISTED}"
        for text, url in (
            ("url:a.example:25", "smtp://a.example"),
            ("url:a.example/b", "https://a.example"),
        )
    },
    "http:/a.example": f"'http:/a.example' has no scheme: did you mean https://a.example? {LISTED}",
    "certs/web.pem": f"'certs/web.pem' has no scheme: {WHOLE}. {LISTED}",
    "./certs/web.pem": f"'./certs/web.pem' has no scheme: {WHOLE}. {LISTED}",
    "../certs/web.pem": f"'../certs/web.pem' has no scheme: {WHOLE}. {LISTED}",
    "~/certs/web.pem": f"'~/certs/web.pem' has no scheme: {WHOLE}. {LISTED}",
    "web.pem": f"'web.pem' has no scheme: {WHOLE.replace('certs/', '')}. {LISTED}",
    "a..example": f"'a..example' has no scheme: 'a..example' is not a host name. {LISTED}",
    "a.example;ls": f"'a.example;ls' has no scheme: 'a.example;ls' is not a host name. {LISTED}",
    "'https://a.example'": f"\"'https://a.example'\" is not a URL: {AROUND}",
    "(https://a.example)": f"'(https://a.example)' is not a URL: {AROUND}",
    f"{QUOTED}https://a.example{QUOTED}": f"'{QUOTED}https://a.example{QUOTED}' is not a URL: {AROUND}",
    "https://a.example,": "'https://a.example,' is not a URL: a ',' is behind it, write https://a.example",
    "https://a.example:1;": "'https://a.example:1;' is not a URL: a ';' is behind it, write https://a.example:1",
    "curl https://a.example": f"'curl https://a.example' {PRINTABLE}, write https://a.example",
    "- https://a.example": f"'- https://a.example' {PRINTABLE}, write https://a.example",
    "https://a.example, https://b.example": (
        f"'https://a.example, https://b.example' {PRINTABLE}, write each target by itself"
    ),
    "https://a.example tls://b.example:1": (
        f"'https://a.example tls://b.example:1' {PRINTABLE}, write each target by itself"
    ),
    "\N{ZERO WIDTH SPACE}https://a.example": (
        f"'\\u200bhttps://a.example' {PRINTABLE}, write https://a.example"
    ),
    "https://https://a.example:1": (
        "'https://https://a.example:1' is not a URL: it has two schemes, write https://a.example:1"
    ),
    "tls://http//a.example/b": (
        "'tls://http//a.example/b' is not a URL: it has two schemes, write https://a.example"
    ),
    "<https://a.example>": f"'<https://a.example>' is not a URL: {AROUND}",
    "*.example.com": f"'*.example.com' has no scheme: {PATTERN}. {LISTED}",
    "a.example,b.example": (f"'a.example,b.example' has no scheme: write each target by itself. {LISTED}"),
    "secret/prod/tls": (
        "'secret/prod/tls' has no scheme: write the whole path of a file, file:///DIRECTORY/secret/prod/tls. "
        + LISTED
    ),
    ":443": f"':443' has no scheme: {BEHIND}",
    "443": f"'443' has no scheme: {BEHIND}",
    "://a.example": f"'://a.example' has no scheme: write https://a.example, {OTHER}",
    "http3://a.example": f"scheme 'http3' is not known: did you mean 'h3'? {LISTED}",
    "mqtts://a.example": f"scheme 'mqtts' is not known: did you mean 'tls'? {LISTED}",
    "smtp+starttls://a": f"scheme 'smtp+starttls' is not known: did you mean 'smtp'? {LISTED}",
    "domain:https://a.example/b": "domain: takes a name alone: write domain:a.example",
    "jdbc:mysql://a": f"'jdbc:mysql://a' has no scheme: write mysql://a. {LISTED}",
    "a.example:https": f"'a.example:https' has no scheme: write https://a.example. {LISTED}",
    "a.example:http": f"'a.example:http' has no scheme: write https://a.example. {LISTED}",
    "a.example:tls": f"'a.example:tls' has no scheme: write tls://a.example:PORT. {LISTED}",
    "https:://a.example": "'https:://a.example' is not a URL: write https://a.example",
    "jdbc:postgresql://a:1/b": f"'jdbc:postgresql://a:1/b' has no scheme: write postgres://a:1. {LISTED}",
    "a.example:": f"'a.example:' has no scheme: a port is missing. {LISTED}",
    **{
        f"a.example:{port}": f"'a.example:{port}' has no scheme: '{port}' {PORTS}. {LISTED}"
        for port in ("443x", "-1", "\u0661")
    },
    "[2001:db8::1": "'[2001:db8::1' has no scheme: a bracket is missing: an IPv6 address stands in [ and ], "
    f"write https://[2001:db8::1]. {LISTED}",
    "[]:443": f"'[]:443' has no scheme: only an IPv6 address stands in brackets. {LISTED}",
    "ssl:a.example:443": f"'ssl:a.example:443' has no scheme: write tls://a.example:443. {LISTED}",
    "http:a.example/b": f"'http:a.example/b' has no scheme: write https://a.example. {LISTED}",
    "whois:a.example": f"'whois:a.example' has no scheme: write domain:a.example. {LISTED}",
    "domain:a.example:43": "domain: takes a name alone: write domain:a.example",
    "dns://ns.example/a.example": "'ns.example/a.example' is not a host name",
    "tls:a.example": "'tls:a.example' is not a URL: write tls://a.example:PORT",
    "https:/a.example/b": "'https:/a.example/b' is not a URL: write https://a.example",
    "https:": "'https:' is not a URL: nothing is behind its scheme",
    "C:\\web.txt": rf"'C:\\web.txt' has no scheme: {WINDOWS}/mnt/c/web.txt. {LISTED}",
    "c:/a b/web.pem": f"'c:/a b/web.pem' has no scheme: {WINDOWS}/mnt/c/a b/web.pem. {LISTED}",
    "\\\\nas\\web.pem": rf"'\\\\nas\\web.pem' has no scheme: {WINDOWS}/DIRECTORY/web.pem. {LISTED}",
    ".\\web.pem": rf"'.\\web.pem' has no scheme: {WINDOWS}/DIRECTORY/web.pem. {LISTED}",
    "file:C:\\web.pem": rf"'file:C:\\web.pem' is not a URL: {WINDOWS}/mnt/c/web.pem",
    "file://C:/web.pem": f"{THIRD}: {WINDOWS}/mnt/c/web.pem",
    "https:\\\\a.example": r"'https:\\\\a.example' is not a URL: write https://a.example",
    "file:certs/web.pem": f"'file:certs/web.pem' is not a URL: {WHOLE}",
    "file:./certs/web.pem": f"'file:./certs/web.pem' is not a URL: {WHOLE}",
    "file:~me/certs/web.pem": f"'file:~me/certs/web.pem' is not a URL: {WHOLE}",
    "file:web.pem": f"'file:web.pem' is not a URL: {WHOLE.replace('certs/', '')}",
    "file://certs/web.pem": f"{THIRD}: {EITHER}",
    "file://web.pem": f"{THIRD}: {WHOLE.replace('certs/', '')}",
    "file:// /certs/web.pem": f"{THIRD}: write file:///certs/web.pem",
    "file://localhost/certs/web.pem": f"{THIRD}: write file:///certs/web.pem",
    "file://../certs/web.pem": f"{THIRD}: {WHOLE}",
    "file//certs/web.pem": f"'file//certs/web.pem' has no scheme: a colon is missing, {EITHER}. {LISTED}",
    "file///certs/web.pem": (
        f"'file///certs/web.pem' has no scheme: a colon is missing, write file:///certs/web.pem. {LISTED}"
    ),
    "file:~/certs/web.pem": f"'file:~/certs/web.pem' is not a URL: {WHOLE}",
    "file:/~/certs/web.pem": f"'file:/~/certs/web.pem' is not a URL: {WHOLE}",
    "file::///certs/web.pem": "'file::///certs/web.pem' is not a URL: write file:///certs/web.pem",
    "file;///certs/web.pem": (
        f"'file;///certs/web.pem' has no scheme: a colon is missing, write file:///certs/web.pem. {LISTED}"
    ),
    "https;//a.example": (
        f"'https;//a.example' has no scheme: a colon is missing, write https://a.example. {LISTED}"
    ),
    "fil:/certs/web.pem": f"'fil:/certs/web.pem' has no scheme: write file:///certs/web.pem. {LISTED}",
    **{f"file:{rest}": f"'file:{rest}' is not a URL: {NO_FILE}" for rest in ("", "/")},
    "file://": f"{THIRD}: {NO_FILE}",
    "file:\\\\\\": rf"'file:\\\\\\' is not a URL: {WINDOWS}/DIRECTORY/FILE",
    "file:\\\\\\certs\\web.pem": rf"'file:\\\\\\certs\\web.pem' is not a URL: {WINDOWS}/DIRECTORY/web.pem",
    "//a.example": f"'//a.example' has no scheme: write https://a.example, {OTHER}",
    "https:a": "'https:a' is not a URL: write https://a",
    "file:/etc/x": "'file:/etc/x' is not a URL: write file:///etc/x",
    "gopher://a.example": f"scheme 'gopher' is not known: {LISTED}",
    "data:text/plain,x": f"scheme 'data' is not known: {LISTED}",
    "mailto:admin": f"scheme 'mailto' is not known: {LISTED}",
    "localhost:x": f"'localhost:x' has no scheme: 'x' {PORTS}. {LISTED}",
    "a.example:0": f"'a.example:0' has no scheme: '0' {PORTS}. {LISTED}",
    "a.example:70000": f"'a.example:70000' has no scheme: '70000' {PORTS}. {LISTED}",
    "[192.0.2.1]:443": f"'[192.0.2.1]:443' has no scheme: only an IPv6 address stands in brackets. {LISTED}",
    "(a.example:25)": (
        "'(a.example:25)' is not a URL: quotes and brackets are around it, write smtp://a.example"
    ),
    "a.example b.example:25": f"'a.example b.example:25' {PRINTABLE}, write each target by itself",
    "url=https://a.example": "'url=https://a.example' is not a URL: write https://a.example",
    "[a](https://a.example)": "'[a](https://a.example)' is not a URL: write https://a.example",
    "domain:a.example/": "domain: takes a name alone: write domain:a.example",
    "domain:": "domain: takes a domain name: write domain:example.com",
    "ldap:///dc=example,dc=com": "'ldap:///dc=example,dc=com' names no host",
    "mysql+pymysql://a": f"scheme 'mysql+pymysql' is not known: did you mean 'mysql'? {LISTED}",
    "tcps://a.example:2484": f"scheme 'tcps' is not known: did you mean 'tls'? {LISTED}",
    # Passwords in what drivers take
    "jdbc:mysql://a/b?password=hunter2": (f"'jdbc:mysql://a/b?...' has no scheme: write mysql://a. {LISTED}"),
    "jdbc:sqlserver://a:1;user=me;password=hunter2": (
        f"'jdbc:sqlserver://a:1;...' has no scheme: write mssql://a:1. {LISTED}"
    ),
    "https://a:x?token=hunter2": f"'https://a:x?...' is not a URL: 'x' {PORTS}",
    "mssql://a:1;password=hunter2": (
        "'mssql://a:1;...' is not a URL: its host has a character that no host name has"
    ),
    "GET https://a/b?token=hunter2": f"'GET https://a/b?...' {PRINTABLE}, write https://a",
    "'https://a/b?token=hunter2'": (
        '"\'https://a/b?..." is not a URL: quotes and brackets are around it, write https://a'
    ),
    "https://a/b?token=hunter2;": "'https://a/b?...' is not a URL: a ';' is behind it, write https://a",
    "host=a password=hunter2": f"'host=a password=...' {PRINTABLE}",
    "htps://a.example": f"scheme 'htps' is not known: did you mean 'https'? {LISTED}",
    "HTTP://a.example": f"scheme 'http' is not known: did you mean 'https'? {LISTED}",
    "imap+tls://a.example": f"scheme 'imap+tls' is not known: did you mean 'imaps'? {LISTED}",
    "postgresql://a.example": f"scheme 'postgresql' is not known: did you mean 'postgres'? {LISTED}",
    "grpcs://a.example": f"scheme 'grpcs' is not known: did you mean 'tls'? {LISTED}",
    "rtmps://a.example": f"scheme 'rtmps' is not known: did you mean 'tls'? {LISTED}",
    "sips://a.example": f"scheme 'sips' is not known: did you mean 'tls'? {LISTED}",
    **{
        network: f"'{network}' is a network: "
        f"`expiry-exporter discover 'networks: {{cidr: [{network}]}}'` tries each address of it"
        for network in ("10.0.0.0/24", "2001:db8::/120")
    },
    "localhost/path": f"'localhost/path' has no scheme: write https://localhost, or another scheme. {LISTED}",
    "redis://a.example": f"scheme 'redis' is not known: did you mean 'rediss'? {LISTED}",
    # Nearest in spelling would be `ftp`, and nothing
    "tcp://a.example:1": f"scheme 'tcp' is not known: did you mean 'tls'? {LISTED}",
    "whois://a.example": f"scheme 'whois' is not known: did you mean 'domain'? {LISTED}",
    # No host
    "https://": "'https://' names no host",
    "https:///": "'https:///' names no host",
    "https:///path": "'https:///path' names no host: for a file, write file:///path",
    "https:///etc/web.pem": "'https:///etc/web.pem' names no host: for a file, write file:///etc/web.pem",
    "https:///web.pem": "'https:///web.pem' names no host: for a file, write file:///web.pem",
    "https:///a.example": "'https:///a.example' names no host: write https://a.example",
    "https:////a.example:1/b": "'https:////a.example:1/b' names no host: write https://a.example:1",
    "tls:///a.example": "'tls:///a.example' names no host: write tls://a.example:PORT",
    "https:///localhost": "'https:///localhost' names no host: write https://localhost",
    "pem+https:///a.example/b.pem": (
        "'pem+https:///a.example/b.pem' names no host: write pem+https://a.example/b.pem"
    ),
    "https://:443": "'https://:443' names no host",
    # Ports
    "tls://a.example": "'tls://a.example' names no port: write tls://a.example:PORT",
    "tls://a.example:": "'tls://a.example:' names no port: write tls://a.example:PORT",
    "tls://a.example/": "'tls://a.example/' names no port: write tls://a.example:PORT",
    "tls://[::1]": "'tls://[::1]' names no port: write tls://[::1]:PORT",
    "https://a:0": "port 0 can't be connected to: ports are 1 to 65535",
    "https://a:65536": f"'https://a:65536' is not a URL: '65536' {PORTS}",
    "https://a:-1": f"'https://a:-1' is not a URL: '-1' {PORTS}",
    "https://a:+1": f"'https://a:+1' is not a URL: '+1' {PORTS}",
    "https://a:1_0": f"'https://a:1_0' is not a URL: '1_0' {PORTS}",
    "https://a:https": f"'https://a:https' is not a URL: 'https' {PORTS}",
    **{
        f"https://a.example:{rest}": f"'https://a.example:{rest}' is not a URL: "
        "one colon and one port follow a host, and an IPv6 address stands in brackets"
        for rest in ("443:443", "db8::1")
    },
    "https://a:\u0661": f"'https://a:\u0661' is not a URL: '\u0661' {PORTS}",
    # User names and passwords are refused before anything of the text is shown
    "https://user@a.example": USERINFO,
    "https://user:hunter2@a.example": USERINFO,
    "https://@a.example": USERINFO,
    "user:hunter2@a.example": USERINFO,
    "gopher://user:hunter2@a.example": USERINFO,
    "https://user:hunter2@[::": USERINFO,
    "https://user:hunter2/@a.example": USERINFO,
    "https://user:hunt\ter2@a.example": USERINFO,
    # What follows the host
    "https://a/b": "https:// takes a host and a port only: remove what follows 'a' in the URL",
    "https://a:1//": "https:// takes a host and a port only: remove what follows 'a:1' in the URL",
    "https://a?b": "https:// takes a host and a port only: remove what follows 'a' in the URL",
    "tls://a:1#b": "tls:// takes a host and a port only: remove what follows 'a:1' in the URL",
    # Hosts
    "https://a b": f"'https://a b' {PRINTABLE}",
    "https://a\tb": f"'https://a\\tb' {PRINTABLE}",
    "https://a\nb": f"'https://a\\nb' {PRINTABLE}",
    "https://a\x00b": f"'https://a\\x00b' {PRINTABLE}",
    "https://a\u2028b": f"'https://a\\u2028b' {PRINTABLE}",
    "https://a\ud800b": f"'https://a\\ud800b' {PRINTABLE}",
    "https://.": "'.' is not a host name",
    "https://.a": "'.a' is not a host name",
    "https://a..": "'a..' is not a host name",
    "https://a..b": "'a..b' is not a host name",
    "https://-a.example": "'-a.example' is not a host name",
    "https://a-.example": "'a-.example' is not a host name",
    "https://*.example": f"'*.example' is not a host name: {PATTERN}",
    "https://a%41.example": "'a%41.example' is not a host name",
    "https://a,https://b": "'a,https:' is not a host name: write each target by itself",
    "https://a:443,b:443": "'a:443,b:443' is not a host name: write each target by itself",
    "https://a,b": "'a,b' is not a host name: write each target by itself",
    f"https://{'a' * 64}.example": f"'{'a' * 60}…' is not a host name",
    f"https://{'a.' * 126}aa": f"'{'a.' * 30}…' is not a host name",
    "https://256.0.2.1": "'256.0.2.1' is neither a host name nor a complete IPv4 address",
    "https://10.1": "'10.1' is neither a host name nor a complete IPv4 address",
    "https://2130706433": "'2130706433' is neither a host name nor a complete IPv4 address",
    "https://192.0.2.01": "'192.0.2.01' is neither a host name nor a complete IPv4 address",
    "https://[::1": "'https://[::1' is not a URL: a bracket is missing: an IPv6 address stands in [ and ], "
    "write https://[::1]",
    "tls://[db8::1": "'tls://[db8::1' is not a URL: a bracket is missing: an IPv6 address stands in [ and ], "
    "write tls://[db8::1]:PORT",
    "https://[db8::1:443/": "'https://[db8::1:443/' is not a URL: a bracket is missing: an IPv6 address "
    "stands in [ and ], write https://[db8::1:443]",
    "https://[zz]": "'https://[zz]' is not a URL: only an IPv6 address stands in brackets",
    "https://\u2100.example": "'https://\u2100.example' is not a URL: "
    "its host has a character that no host name has",
    "https://::1": "'https://::1' is not a URL: an IPv6 address stands in brackets, write https://[::1]",
    "https://2001:db8::1:443": "'https://2001:db8::1:443' is not a URL: an IPv6 address stands in brackets, "
    "write https://[2001:db8::1:443], or https://[2001:db8::1]:443",
    "tls://2001:db8::a": "'tls://2001:db8::a' is not a URL: an IPv6 address stands in brackets, "
    "write tls://[2001:db8::a]:PORT",
    "https://[v1.x]": "'https://[v1.x]' is not a URL: only an IPv6 address stands in brackets",
    "https://bücher..example": "'bücher..example' is not an internationalised domain name: Empty Label",
}


@pytest.mark.parametrize("text", BAD_URLS)
def test_a_bad_url_says_what_would_be_right(text: str) -> None:
    """
    One URL, one exact message, and never a password in it.
    """
    with pytest.raises(TargetError) as error:
        parse_url(text)
    assert str(error.value) == BAD_URLS[text]


@pytest.mark.parametrize("text", BAD_URLS)
def test_the_advised_url_is_good(text: str) -> None:
    """
    Whatever a message says to write is a target itself, once its words in capitals are replaced.
    """
    for url in re.findall(r"(?:write|or|mean|as) (?:\w+: )?([a-z+]+:\S+)", BAD_URLS[text]):
        parse_url(url.rstrip(".,?").replace("PORT", "8443").replace("DIRECTORY", "etc"))


@pytest.mark.parametrize(
    "text",
    [
        *("https://☃.example", "https://ü--.example", f"https://{'ü' * 70}.example", "https://℀.example"),
        *("https://[192.0.2.1]", "https://[a.example]", "https://[]", "https://[::1%]"),
        *("https://[::1]a", "https://a[::1]", "https://[::1][::1]", "https://[::1]a:1"),
    ],
)
def test_other_bad_hosts_are_refused(text: str) -> None:
    """
    In words of the standard library or of idna, which may change.
    """
    with pytest.raises(TargetError):
        parse_url(text)


@given(st.text() | st.text(alphabet="htps:/tl[]@%.#?-_ab1ü0 \t").map("https://".__add__))
def test_any_text_is_a_url_or_not_a_target(text: str) -> None:
    """
    Never another exception; and what is accepted is canonical, so parsing it again changes nothing.
    """
    try:
        url = parse_url(text)
    except TargetError:
        return
    assert 1 <= url.port <= 65535
    assert url.host.isascii() or url.ip is not None
    again = parse_url(f"{url.scheme}://{url.authority}")
    assert (again.host, again.port, again.ip) == (url.host, url.port, url.ip)


@given(st.ip_addresses())
def test_every_address_is_a_target(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """
    Written as a URL has it, it comes back.
    """
    url = parse_url(f"tls://{join_host_port(str(ip), 1)}")
    assert (url.ip, url.host) == (ip, str(ip))


def test_schemes_without_a_usual_port_must_name_one() -> None:
    """
    The table of schemes decides.
    """
    for scheme, meaning in SCHEMES.items():
        if meaning.form not in {Form.HOST, Form.WEB}:
            continue
        if meaning.default_port is None:
            with pytest.raises(TargetError, match="names no port"):
                parse_url(f"{scheme}://a.example")
        else:
            assert parse_url(f"{scheme}://a.example").port == meaning.default_port


@pytest.mark.parametrize(
    ("url", "server_name", "expected", "sni"),
    [
        ("https://a.example", None, "a.example", "a.example"),
        ("https://bücher.example", None, "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("https://192.0.2.1", None, "192.0.2.1", None),
        ("https://[2001:db8::1]", None, "2001:db8::1", None),
        ("https://192.0.2.1", "a.example", "a.example", "a.example"),
        ("https://[2001:db8::1]", "a.example", "a.example", "a.example"),
        ("https://a.example", "b.example", "b.example", "b.example"),
        ("https://a.example", "192.0.2.1", "192.0.2.1", None),
        ("https://a.example", "2001:db8::1", "2001:db8::1", None),
    ],
)
def test_the_name_that_is_verified_and_the_name_that_is_sent(
    url: str, server_name: str | None, expected: str, sni: str | None
) -> None:
    """
    An address is verified and never sent (RFC 6066 section 3).
    """
    target = Target(parse_url(url), url, server_name=server_name)
    assert (target.expected_name, target.sni) == (expected, sni)


def test_a_pass_phrase_is_not_in_the_repr() -> None:
    """
    Targets end up in tracebacks.
    """
    target = Target(parse_url("https://a"), "a", client_key_password="hunter2")
    assert "hunter2" not in repr(target)


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [("a", 1, "a:1"), ("192.0.2.1", 443, "192.0.2.1:443"), ("::1", 443, "[::1]:443")],
)
def test_host_and_port_as_one_text(host: str, port: int, text: str) -> None:
    """
    With brackets where a colon would be taken for the port's (RFC 3986 section 3.2.2).
    """
    assert join_host_port(host, port) == text
    assert Url(f"tls://{text}", "tls", host, port, parse_ip(host)).authority == text


def test_a_host_s_normal_form_is_its_own_normal_form() -> None:
    """
    So that it may be compared.
    """
    for host in ("a.example", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"):
        assert normal_host(host) == host


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_dialogue_may_take_as_long_as_the_scrape(scheme: str) -> None:
    """
    Unless the target says otherwise; everything else has its own few seconds.
    """
    assert SCHEMES[scheme].dialogue == (scheme in DIALOGUES)
    url = Url("", scheme)
    assert Target(url, "a").patience == (math.inf if scheme in DIALOGUES else USUAL_PATIENCE)
    assert Target(url, "a", timeout=2.5).patience == 2.5
