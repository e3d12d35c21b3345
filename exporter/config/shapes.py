"""
What the JSON schema says of values that are texts of a certain form, so that editors mark the others.

A form never refuses what the reader accepts. It may accept what only the reader refuses: a duration that is
too long, a name that is no host's.
"""

from typing import Any

from pydantic import WithJsonSchema

from exporter.model.targets import RESERVED_LABELS
from exporter.model.urls import SCHEMES, Form


def _text(pattern: str, words: str) -> dict[str, Any]:
    """
    Return the schema of texts of this form; `words` are what an editor says of others (not in the standard).
    """
    return {"type": "string", "pattern": f"^{pattern}$", "patternErrorMessage": words}


def _any_case(words: list[str]) -> str:
    """
    Return a pattern for these words in upper or lower case: JSON schema has no flag for that.
    """
    each = (
        "".join(f"[{one.upper()}{one}]" if one.isalpha() else f"[{one}]" for one in word) for word in words
    )
    return f"(?:{'|'.join(each)})"


def _schemes(*forms: Form) -> str:
    return _any_case([name for name, one in SCHEMES.items() if one.form in forms])


_BOOLEANS = ["true", "false", "yes", "no", "on", "off"]
BOOLEAN = {"type": ["boolean", "string"], "pattern": f"^{_any_case(_BOOLEANS)}$"}


DNS_CHECKS = {"type": ["boolean", "string"], "pattern": f"^{_any_case([*_BOOLEANS, 'auto'])}$"}


_UNITS = "".join(f"([0-9]{{1,9}}{unit})?" for unit in ("w", "d", "h", "m", "s", "ms"))
# Not empty, and more than 0.
_DURATION = f"(?=.*[1-9]){_UNITS}"
_LIKE = "a duration with its unit, like 10s, 1m30s, 6h or 30d"
DURATION = _text(_DURATION, f"must be {_LIKE}")


INTERVAL = _text(f"(none|{_DURATION})", f"must be {_LIKE}, or none")


_SHARE = r"(?=.*[1-9])0*(50(\.0{1,9})?|[0-4]?[0-9](\.[0-9]{1,9})?)%"
_EITHER = f"(?:{_SHARE}|{_DURATION})"
_TIME_BEFORE = "a duration like 30d or a share of the lifetime like 33%, at most 50%"
DEADLINE = {
    "anyOf": [
        _text(_EITHER, f"must be {_TIME_BEFORE}"),
        {
            "type": "array",
            "items": _text(_EITHER, f"must be {_TIME_BEFORE}"),
            "minItems": 2,
            "maxItems": 2,
            "allOf": [{"contains": {"pattern": one}} for one in ("%$", "[a-z]$")],
        },
    ]
}


_ISSUER = {"type": "string", "minLength": 1, "maxLength": 256}
ISSUERS = {"anyOf": [_ISSUER, {"type": "array", "items": _ISSUER, "minItems": 1}]}


_PLACE = r"[^\s@]+"
URL = _text(
    rf"\s*(?:{_schemes(Form.PATH)}://.+"
    rf"|{_schemes(Form.HOST, Form.WEB, Form.RESOURCE)}://{_PLACE}|{_schemes(Form.NAME)}:{_PLACE})\s*",
    "must be the URL of a target, like https://www.example.com or domain:example.com",
)


SCHEME = _text(f"{_any_case(list(SCHEMES))}:?(//)?", "must be the scheme of a URL, like https")


NAME = {"type": "string", "minLength": 1, "maxLength": 300}


HOST = _text(r"[^\s/@]+", "must be a host name or an IP address")


NAME_SERVER = _text(r"[^\s/@]+", "must be the address of a name server, like 192.0.2.53 or [2001:db8::53]:53")


PROXY = _text(
    rf"\s*(?:none|{_any_case(['http', 'socks5'])}://{_PLACE})\s*",
    "must be http://HOST:PORT or socks5://HOST:PORT, without user and password; or none",
)


WEB_URL = _text(
    rf"{_any_case(['http', 'https'])}://{_PLACE}",
    "must be a URL like https://example.com/path, without a password",
)


SECRET_TYPE = _text(
    "(?!helm\\.sh/)[A-Za-z0-9._/-]{1,253}", "must be a type of Secrets, like kubernetes.io/tls"
)


NAMESPACE = _text("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "must be the name of a namespace, without wildcards")


NETWORK = _text(r"[0-9A-Fa-f.:]+(/[0-9.]+)?", "must be a network, like 10.1.0.0/24 or 2001:db8::/120")


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
