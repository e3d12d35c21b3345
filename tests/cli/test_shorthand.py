"""
Targets as people type them.
"""

import errno
import io
from pathlib import Path

import pytest

from exporter.cli.shorthand import CONFIGURATION, IGNORED, UNNAMED, meant, named, taken_for_host
from exporter.model.urls import parse_url
from exporter.net.file_threads import Progress
from exporter.probes.files.glob import search


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("example.com", "https://example.com"),
        ("example.com:443", "https://example.com"),
        ("example.com:8443", "tls://example.com:8443"),
        ("mail.example.com:25", "smtp://mail.example.com"),
        ("db:5432", "postgres://db"),
        ("192.0.2.10", "https://192.0.2.10"),
        ("2001:db8::1", "https://[2001:db8::1]"),
        ("[2001:db8::1]:636", "ldaps://[2001:db8::1]"),
        ("bücher.example", "https://bücher.example"),
        # Nothing of ours to complete: these have a meaning or a message already.
        ("https://example.com", "https://example.com"),
        ("pem+https://example.com/ca.pem", "pem+https://example.com/ca.pem"),
        ("domain:example.com", "domain:example.com"),
        ("", ""),
        # Not this directory, as the empty path would be.
        (" ", ""),
        ("http://example.com/path", "http://example.com/path"),
        ("https:///etc/ssl/web.pem", "https:///etc/ssl/web.pem"),
        ("no host", "no host"),
        ("10.0.0.0/24", "10.0.0.0/24"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("https://https://a.example/b", "https://https://a.example/b"),
        ("https://a.example,https://b.example", "https://a.example,https://b.example"),
        ("https://a.example https://b.example", "https://a.example https://b.example"),
        ("https://a.example/x\nhttps://b.example", "https://a.example/x\nhttps://b.example"),
        ("https//www/a", "https//www/a"),
        ("www.example.com:70000", "www.example.com:70000"),
        ("[192.0.2.10]:443", "[192.0.2.10]:443"),
        # A slash alone is no path.
        ("www.example.com/", "https://www.example.com"),
    ],
)
def test_a_host_is_completed_by_its_port(text: str, url: str) -> None:
    """
    With the scheme whose usual port it is.
    """
    assert meant(text, ()) == (url, "")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.com/a/path?q", "https://example.com"),
        ("https://example.com:8443/a", "https://example.com:8443"),
        ("example.com/a/path", "https://example.com"),
        ("LOCALHOST/path", "https://LOCALHOST"),
        ("example.com/#top", "https://example.com"),
        ("example.com:8443/a", "tls://example.com:8443"),
        ("localhost/path", "https://localhost"),
        ("localhost:18443/health", "tls://localhost:18443"),
        ("db:8443/health", "tls://db:8443"),
        ("[::1]:8443/health", "tls://[::1]:8443"),
    ],
)
def test_the_path_of_a_page_is_ignored_and_that_is_said(text: str, url: str) -> None:
    """
    As it stands in the address line of a browser.
    """
    assert meant(text, ()) == (url, f"{text}: {IGNORED}")


@pytest.mark.parametrize(
    "text", ["https://example.com?token=secret", "example.com/a?x&token=secret", "db:443/x?password=secret"]
)
def test_a_query_may_be_a_secret_and_is_in_no_remark(text: str) -> None:
    """
    As documents are shown without theirs.
    """
    _, remark = meant(text, ())
    assert remark == f"{text.partition('?')[0]}?...: {IGNORED}"


@pytest.mark.parametrize(
    ("text", "written"),
    [("2001:db8::1:8443", "[2001:db8::1]:8443"), ("::1:443", "[::1]:443"), ("2001:db8::1", ""), ("::1", "")],
)
def test_an_address_that_may_end_with_a_port_is_told(text: str, written: str) -> None:
    """
    It is an address as it stands.
    """
    remark = f"{text}: it is taken for an address alone. With a port it is written {written}"
    assert meant(text, ()) == (f"https://[{text}]", remark if written else "")


@pytest.mark.parametrize(
    "text", ["a" * 300, f"{'a.' * 150}example", f"/srv/{'a' * 300}.pem", "~nobody-here/a.pem"]
)
def test_what_no_file_can_be_called_is_no_error(text: str) -> None:
    """
    Nor a home directory that nobody has: it is what it would be if there were no such file.
    """
    url, remark = meant(text, ())
    assert remark == ""
    assert url == (f"file://{Path(text).absolute()}" if text.endswith(".pem") else text)


def test_a_path_that_may_not_be_looked_for_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The probe says that this is not permitted.
    """

    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    assert meant(str(tmp_path / "a.pem"), ()) == (f"file://{tmp_path}/a.pem", "")


@pytest.mark.parametrize(
    "text",
    [
        "postgres://me:secret@localhost/db",
        "postgres://me:sec/ret@localhost/db",
        "https://me:secret@www.example.com/a?b",
        "https://me:123/secret@www.example.com",
        "me:secret@www.example.com/a",
        "me:sec@ret@www.example.com/a",
        "me:123/secret@www.example.com",
        "nothing/of the kind",
    ],
)
def test_a_password_is_in_no_remark(text: str) -> None:
    """
    The text is refused as it is: its beginning is no host, also if it looks like one with a port.
    """
    assert meant(text, ()) == (text, "")


def test_a_page_may_have_an_at_sign_in_its_path() -> None:
    """
    As those of users have.
    """
    text = "https://www.example.com/@me"
    assert meant(text, ()) == ("https://www.example.com", f"{text}: {IGNORED}")


def test_a_path_that_exists_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whole or relative, with characters that mean something in a URL; a directory is all that is in it.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "50% off.pem").touch()
    (tmp_path / "certs").mkdir()
    (tmp_path / "example.com").touch()
    root = f"file://{tmp_path}"
    assert meant("50% off.pem", ()) == (f"{root}/50%25%20off.pem", "")
    assert meant(str(tmp_path / "50% off.pem"), ()) == (f"{root}/50%25%20off.pem", "")
    assert meant("certs", ()) == (f"{root}/certs/**", "")
    assert meant("example.com", ()) == (f"{root}/example.com", "")


def test_a_configuration_that_is_taken_for_certificates_is_told(tmp_path: Path) -> None:
    """
    YAML may hold certificates, so it is read all the same.
    """
    file = tmp_path / "expiry.yml"
    for text, told in (("targets:\n  - https://a.example\n", True), ("data:\n  targets: x\n", False)):
        file.write_text(text, encoding="utf-8")
        assert meant(str(file), ()) == (f"file://{file}", f"{file}: {CONFIGURATION}" if told else "")
    assert meant(f"{file}.pem", ()) == (f"file://{file}.pem", "")


def test_a_path_that_exists_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever its name looks like. What does not exist is one.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a[1].pem").touch()
    (tmp_path / "all*").mkdir()
    (tmp_path / "all*" / "b.pem").touch()
    (tmp_path / "a1.pem").touch()
    for text, found in (("a[1].pem", "a[1].pem"), ("all*", "all*/b.pem"), ("a[0-9].pem", "a1.pem")):
        url, remark = meant(text, ())
        assert remark == ""
        assert search(parse_url(url).path, Progress()).paths == (str(tmp_path / found),)


@pytest.mark.parametrize(
    "text", ["web.pem", "certs/web.pem", "./web.txt", "/etc/ssl/x", "../WEB.CRT", "certs/web"]
)
def test_what_can_only_be_a_path_is_one_also_where_no_file_is(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    No name is looked up for it: the probe says that there is no such file.
    """
    monkeypatch.chdir(tmp_path)
    assert meant(text, ()) == (f"file://{tmp_path.joinpath(text)}", "")


@pytest.mark.parametrize("text", ["certs/", "./certs/", "a/b.d/"])
def test_what_ends_with_a_slash_is_a_directory_also_where_there_is_none(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As one that is there: a configuration is often written before its files are.
    """
    monkeypatch.chdir(tmp_path)
    assert meant(text, ()) == (f"file://{tmp_path.joinpath(text)}/**", "")


def test_a_word_that_may_be_a_misspelt_name_is_told() -> None:
    """
    With the nearest name, or with the flag that is missing. What has a dot or a port is a host.
    """
    told = "shp: no target of expiry.yml has this name, so it is taken for a host"
    for names, file, remark in (
        (["shop", "web"], "expiry.yml", f"{told}; did you mean 'shop'?"),
        (["web"], "expiry.yml", told),
        ([], None, f"shp: {UNNAMED}"),
    ):
        assert meant("shp", names) == ("https://shp", "")
        assert taken_for_host("shp", "https://shp", names, file) == remark
    for text in ("shp.example.com", "shp:443", "localhost", "LOCALHOST", "https://shp", "shop"):
        assert taken_for_host(text, meant(text, ["shop"])[0], ["shop"], "expiry.yml") == ""


def test_a_configured_name_goes_before_all() -> None:
    """
    Also where it looks like something else.
    """
    assert meant("shop.example.com", ["shop.example.com"]) == ("shop.example.com", "")


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name in each line; comments and empty lines are none. Nor is a byte order mark.
    """
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffa.example\n"))
    assert list(named(["-"])) == ["a.example"]
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("\ufeff# ours\n a.example \n\nb.example:25 # mail\n#x\n/a#b.pem")
    )
    assert list(named(["x.example", "-", "y.example"])) == [
        "x.example",
        "a.example",
        "b.example:25",
        "/a#b.pem",
        "y.example",
    ]


def test_blanks_around_a_name_are_not_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As variables of a shell have them; those of a file's name are its own.
    """
    monkeypatch.chdir(tmp_path)
    assert meant(" www.example.com:8443\n", ()) == ("tls://www.example.com:8443", "")
    Path(" a.pem").touch()
    assert meant(" a.pem", ()) == (f"file://{tmp_path}/%20a.pem", "")
