"""
The patterns in the JSON schema of values that are texts of a certain form, so that editors mark the others.

A form never refuses what the reader accepts. It may accept what only the reader refuses: a sum of units that
is too long, a network that is too large.
"""

from typing import Any

from pydantic import WithJsonSchema

from exporter.model.schemes import SCHEMES, Form
from exporter.model.targets import RESERVED_LABELS


def _text(pattern: str, words: str, *others: str, most: int | None = None) -> dict[str, Any]:
    """
    Return the schema of texts of this form, of `most` characters; `words` are what an editor says of others
    (not in the standard).

    `others` are types that are a text to the reader, since they look like one: of them every value fits.
    """
    kind = ["string", *others] if others else "string"
    length = {"maxLength": most} if most is not None else {}
    return {"type": kind, "pattern": f"^(?:{pattern})$", **length, "patternErrorMessage": words}


def _any_case(words: list[str]) -> str:
    """
    Return a pattern for these words in upper or lower case: JSON schema has no flag for that.
    """
    each = (
        "".join(f"[{one.upper()}{one}]" if one.isalpha() else f"[{one}]" for one in word) for word in words
    )
    return f"(?:{'|'.join(each)})"


def up_to(most: int) -> str:
    """
    Return a pattern for whole numbers from 0 to `most`, without zeros before them.
    """
    digits = str(most)
    each = [digits]
    if len(digits) > 1:
        each.append("[0-9]")
    if len(digits) > 2:
        each.append(f"[1-9][0-9]{{1,{len(digits) - 2}}}")
    for place, digit in enumerate(digits):
        first = 1 if place == 0 and len(digits) > 1 else 0
        if int(digit) > first:
            rest = "[0-9]" * (len(digits) - place - 1)
            each.append(f"{digits[:place]}[{first}-{int(digit) - 1}]{rest}")
    return f"(?:{'|'.join(each)})"


_BOOLEANS = ["true", "false", "yes", "no", "on", "off"]
BOOLEAN = {"type": ["boolean", "string"], "pattern": f"^{_any_case(_BOOLEANS)}$"}


DNS_CHECKS = {"type": ["boolean", "string"], "pattern": f"^{_any_case([*_BOOLEANS, 'auto'])}$"}


_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


def _units(counts: dict[str, str], thousandths: str = "[0-9]{1,9}") -> str:
    """
    Return a pattern for a duration with these patterns for the number of each unit, and for milliseconds.
    """
    parts = [*counts.items(), ("ms", thousandths)]
    return "".join(f"({number}{unit})?" for unit, number in parts)


def _duration(least: int = 0, most: int | None = None) -> str:
    """
    Return a pattern for durations above 0, each of whose units is at most `most` seconds, and which are not
    known to be less than `least` (a minute at most) from their seconds.
    """
    short = dict.fromkeys(_UNITS, "0+") | {"s": f"0*{up_to(max(least - 1, 0))}"}
    too_short = f"(?!{_units(short, '0*[0-9]{1,3}')}$)" if least else "(?=.*[1-9])"
    if most is None:
        return too_short + _units(dict.fromkeys(_UNITS, "[0-9]{1,9}"))
    return too_short + _units(
        {unit: f"0*{up_to(most // seconds)}" for unit, seconds in _UNITS.items()}, f"0*{up_to(most * 1000)}"
    )


_LIKE = "a duration with its unit, like 10s, 1m30s, 6h or 30d"
TIMEOUT = _text(_duration(most=600), f"must be {_LIKE}, at most 10m")


_INTERVAL = _duration(1, 30 * 86400)
PAUSE = _text(_INTERVAL, f"must be {_LIKE}, from 1s to 30d")


INTERVAL = _text(f"none|{_INTERVAL}", f"must be {_LIKE}, from 1s to 30d, or none")


_SHARE = r"(?=.*[1-9])0*(50(\.0{1,9})?|[0-4]?[0-9](\.[0-9]{1,9})?)%"


def _before(duration: str) -> dict[str, Any]:
    """
    Return the schema of a time before the end: a duration, a share, or one of each.
    """
    either = _text(
        f"{_SHARE}|{duration}", "must be a duration like 30d or a share of the lifetime like 33%, at most 50%"
    )
    return {
        "anyOf": [
            either,
            {
                "type": "array",
                "items": either,
                "minItems": 2,
                "maxItems": 2,
                "allOf": [{"contains": {"pattern": one}} for one in ("%$", "[a-z]$")],
            },
        ]
    }


DEADLINE = _before(_duration())


UNSEEN = _before(_duration(60))


_PAIR = "[0-9A-Fa-f]{2}"
_ISSUER = _text(
    # No distinguished name, no pattern, and no fingerprint of another length.
    rf"(?=.*\S)(?!\s*{_any_case(['cn', 'ou', 'o', 'c', 'dc'])}\s*=)"
    rf"(?!(?!{_PAIR}(:{_PAIR}){{31}}$){_PAIR}(:{_PAIR})+$)(?![0-9A-Fa-f]{{32,63}}$|[0-9A-Fa-f]{{65,}}$)"
    r"[^*?\x00-\x1f]+",
    "must be the common name, the organization or the SHA-256 fingerprint of a CA, without wildcards",
    "number",
    "boolean",
    most=258,
)
ISSUERS = {
    "anyOf": [
        _ISSUER,
        {"type": "array", "items": {"allOf": [_ISSUER, {"not": {"const": "any"}}]}, "minItems": 1},
    ]
}


_OCTET = up_to(255)
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_IPV6 = r"(?=(?:[^:]*:){2})[0-9A-Fa-f:.]+(?:%[^\s/@\]]+)?"
_HOST_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# The last is no number. Of other letters only the reader knows which may be in a name.
_LAST = rf"(?=[0-9]*[A-Za-z_-]){_HOST_LABEL}\.?|[^\s/@:?#*,]*[^\x00-\x7f][^\s/@:?#*,]*"
_NAME = rf"(?:(?:{_HOST_LABEL}\.)*(?:{_LAST}))"
_IN_URL = rf"(?:{_NAME}|{_IPV4}\.?|\[{_IPV6}\])"
"""A host where a port may follow it."""


_PORT = rf"0*(?!0(?![0-9])){up_to(65535)}"
_NO_PATH = r"/?\??#?"
_ANY_PATH = r"(?:[/?#][^\s@]*)?"


def _schemes(form: Form, *, with_port: bool = True) -> str:
    """
    Return a pattern for the schemes of a form, with or without a usual port.
    """
    return _any_case(
        [
            name
            for name, one in SCHEMES.items()
            if one.form is form and (one.default_port is not None) == with_port
        ]
    )


_OBJECT = r"[a-z0-9.*?\[\]!-]{1,253}"
URL = _text(
    r"\s*(?:"
    rf"{_schemes(Form.HOST)}://{_IN_URL}(?::(?:{_PORT})?)?{_NO_PATH}"
    rf"|{_schemes(Form.HOST, with_port=False)}://{_IN_URL}:{_PORT}{_NO_PATH}"
    rf"|{_schemes(Form.WEB)}://{_IN_URL}(?::(?:{_PORT})?)?{_ANY_PATH}"
    rf"|{_schemes(Form.NAME, with_port=False)}:(?://)?{_NAME}"
    rf"|{_schemes(Form.PATH, with_port=False)}://(?:/|%2[Ff])(?!.* - )[^\x00-\x1f]*"
    rf"|{_schemes(Form.RESOURCE, with_port=False)}://(?:[^\s@]*/)?{_OBJECT}/{_OBJECT}"
    r")\s*",
    "must be the URL of a target: https://HOST:PORT without a path, domain:NAME or file:///PATH",
    most=2048,
)


SCHEME = _text(f"{_any_case(list(SCHEMES))}:?(//)?", "must be the scheme of a URL, like https")


NAME = _text(
    # No user before a host.
    r"(?!\.{1,2}$)(?=.*\S)(?![A-Za-z][A-Za-z0-9+.-]*://[^/?#@%]+@[^@%]*$)[^\x00-\x1f]+",
    "must be a name of printable characters",
    "number",
    "boolean",
    most=300,
)


HOST = _text(
    rf"{_NAME}|{_IPV4}\.?|{_IPV6}",
    "must be a host name or an IP address, without a port",
    "boolean",
    most=254,
)


DOMAIN = _text(
    rf"(?=[^.]*\.[^.]|.*[^\x00-\x7f]){_NAME}", "must be a registered domain, like example.com", most=254
)


NAME_SERVER = _text(
    rf"{_IPV4}(?::{_PORT})?|{_IPV6}|\[(?:{_IPV4}|{_IPV6})\](?::{_PORT})?",
    "must be the address of a name server, like 192.0.2.53 or [2001:db8::53]:53",
)


PROXY = _text(
    rf"none|\s*{_any_case(['http', 'socks5'])}://{_IN_URL}(?::(?:{_PORT})?)?{_NO_PATH}\s*",
    "must be http://HOST:PORT or socks5://HOST:PORT, without user and password; or none",
)


WEB_URL = _text(
    rf"{_any_case(['http', 'https'])}://{_IN_URL}(?::(?:{_PORT})?)?{_ANY_PATH}",
    "must be a URL like https://example.com/path, without a password",
)


SECRET_TYPE = _text(
    "(?!helm\\.sh/)[A-Za-z0-9._/-]{1,253}",
    "must be a type of Secrets, like kubernetes.io/tls",
    "number",
    "boolean",
)


NAMESPACE = _text(
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "must be the name of a namespace, without wildcards",
    "integer",
    "boolean",
) | {"minimum": 0}


_LENGTHS = rf"0*{up_to(32)}|{_IPV4}"
NETWORK = _text(
    rf"{_IPV4}(?:/(?:{_LENGTHS}))?|{_IPV6}(?:/0*{up_to(128)})?",
    "must be a network, like 10.1.0.0/24 or 2001:db8::/120",
)


ALLOWED = _text(r"\S+", "must be a URL with wildcards, a host, an address or a network", "boolean")


LABEL = _text(
    f"(?!__)(?!(?:{'|'.join(sorted(RESERVED_LABELS))})$)[a-zA-Z_][a-zA-Z0-9_]*",
    "must be the name of a label that has no meaning yet: letters, digits and '_'",
)


def form(schema: dict[str, Any]) -> WithJsonSchema:
    """
    Return the annotation of a value with this schema.
    """
    return WithJsonSchema(schema)


def either(one: str, other: str) -> dict[str, Any]:
    """
    Return the schema of a mapping that may not have both keys.
    """
    return {"not": {"type": "object", "required": [one, other]}}
