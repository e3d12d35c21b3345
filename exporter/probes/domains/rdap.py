"""
Parsing of registrations in RDAP answers (RFC 9083). Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from exporter.model import foreign_json
from exporter.model.reasons import Reason
from exporter.model.times import rfc3339
from exporter.probes.domains.registration import (
    STATUS_LIMIT,
    Registration,
    RegistrationError,
    _clean,
    _no_end,
    is_paid,
    moment,
    not_registered,
)


def from_rdap(body: bytes, domain: str) -> Registration:
    """
    Parse the registration in an RDAP answer (RFC 9083 section 5.3).

    Raises RegistrationError for an error, an answer about another domain, or one without an end.
    """
    answer = _json_object(body)
    if "errorCode" in answer:
        raise _rdap_error(answer, domain)
    name = answer.get("ldhName")
    if isinstance(name, str) and name.lower().rstrip(".") != domain:
        raise RegistrationError(
            Reason.LOOKUP_FAILED, f"the registry answered about another name, {_clean(name)}, not {domain}"
        )
    events = [one for one in _list(answer.get("events")) if isinstance(one, dict)]
    # The registrar's own date is the earlier one while the registry's was moved ahead of a payment.
    ends, own = _event_times(events, "expiration"), _event_times(events, "registrar expiration")
    if not ends + own:
        raise _no_end(domain)
    statuses = tuple(
        dict.fromkeys(_clean(one) for one in _list(answer.get("status")) if isinstance(one, str))
    )
    begins = _event_times(events, "registration")
    return Registration(
        min(ends + own),
        min(begins, default=None),
        statuses[:STATUS_LIMIT],
        _rdap_registrar(answer),
        is_paid(ends, own),
    )


def _json_object(body: bytes) -> dict[str, Any]:
    """
    Parse the JSON object in these bytes. Raises RegistrationError when there is none.
    """
    try:
        answer = foreign_json.loads(body)
    # RecursionError: ten thousand brackets.
    except (ValueError, RecursionError):
        raise RegistrationError(
            Reason.LOOKUP_FAILED, "the registry's RDAP server answered with something that is not JSON"
        ) from None
    if not isinstance(answer, dict):
        raise RegistrationError(Reason.LOOKUP_FAILED, "the registry's RDAP answer is not a JSON object")
    return answer


def _rdap_error(answer: Mapping[str, Any], domain: str) -> RegistrationError:
    """
    Return the exception for an answer that is an error (RFC 9083 section 6).
    """
    code = answer["errorCode"]
    if code == 404:
        return not_registered(domain)
    reason = Reason.RATE_LIMITED if code == 429 else Reason.HTTP_FAILED
    title = answer.get("title")
    words = f": {_clean(title)}" if isinstance(title, str) else ""
    return RegistrationError(
        reason, f"the registry's RDAP server answered with error {_clean(str(code))}{words}"
    )


def _event_times(events: Iterable[Mapping[str, Any]], action: str) -> list[float]:
    """
    Return the times of the events with this action, in seconds since the epoch, without unreadable ones.
    """
    times = []
    for event in events:
        said, date = event.get("eventAction"), event.get("eventDate")
        if isinstance(said, str) and isinstance(date, str) and said.strip().lower() == action:
            time = rfc3339(date.strip())
            # RFC 9083 section 3 wants RFC 3339. Some registries leave out the zone or the time of the day.
            times.append(moment(date) if time is None else time)
    return [time for time in times if time is not None]


def _rdap_registrar(answer: Mapping[str, Any]) -> str:
    """
    Return the name of the entity with the role `registrar`; empty when there is none.
    """
    for entity in _list(answer.get("entities")):
        if not isinstance(entity, dict) or "registrar" not in _list(entity.get("roles")):
            continue
        # jCard (RFC 7095): ["vcard", [["fn", {}, "text", "The name"], ...]].
        card = _list(entity.get("vcardArray"))
        for entry in _list(card[1]) if len(card) > 1 else ():
            if isinstance(entry, list) and len(entry) > 3 and entry[0] == "fn" and isinstance(entry[3], str):
                return _clean(entry[3])
    return ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
