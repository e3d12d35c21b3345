"""
Messages: what is wrong with a value, in words for the person who wrote it.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from exporter.config import values
from exporter.model.suggestions import closest
from exporter.passwords import without_user

_OTHERS = {
    "prober": "this is blackbox_exporter's: `expiry-exporter migrate --blackbox FILE` takes its modules over",
    "scrape_configs": "this is Prometheus's: `expiry-exporter migrate --prometheus FILE` takes targets over",
}
"""Keys of the configurations of other programs, and what to do with those."""


_MESSAGES = {
    "missing": "the key {key!r} is missing",
    "model_type": "must be a mapping (lines of 'key: value')",
    "dict_type": "must be a mapping (lines of 'key: value')",
    "list_type": "must be a list (lines that start with '- ')",
    "string_type": values.NOT_TEXT,
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty: name what it is for, or remove the key",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "value_error": "{error}",
}
"""pydantic's errors by type, in words for the person who wrote the file."""


def in_words(error: Mapping[str, Any], model: type[BaseModel], inside: Mapping[str, type[BaseModel]]) -> str:
    """
    Return one of pydantic's errors as a sentence. `inside` has the models inside the model, by key.
    """
    *around, key = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        if around[-1:] == ["proxy"] and key in {"credentials", "password", "user", "username"}:
            return "credentials are not written here: use credentials_file or credentials_env"
        if key in {"password", "passphrase"}:
            return "a pass phrase is not written here: use password_file or password_env"
        if key in _OTHERS:
            return f"unknown key: {_OTHERS[key]}"
        if "://" in key:
            return _url_as_key(key, error["input"])
        for step in around:
            model = inside[step]
        return f"unknown key: {closest(key, model.model_fields)}"
    if error["input"] is None:
        return values.NO_VALUE
    return _MESSAGES[error["type"]].format(key=key, **error.get("ctx", {}))


def _url_as_key(url: str, value: Any) -> str:
    """
    Return the advice for a URL that became a key by the colon behind it.
    """
    url = without_user(url)
    if isinstance(value, dict):
        return f"a URL is no key: write - url: {url}, and its settings below `url`"
    if isinstance(value, str) and value.isdecimal():
        return f"a space before the port makes a key of the URL: write {url}:{value}"
    return f"a colon behind it makes a key of the URL: write {url}"
