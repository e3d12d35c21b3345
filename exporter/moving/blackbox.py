"""
Modules of blackbox_exporter and ssl_exporter, whose files have nearly the same form.
"""

import re
from collections.abc import Mapping
from typing import Any

from exporter.model.schemes import SCHEMES
from exporter.moving.documents import mappings_in
from exporter.moving.moved import (
    Moved,
    MoveError,
    file_urls,
    items,
    part,
    tls_settings,
    without_braces,
)

_DIALOGUES = (
    # What only this protocol has before TLS, in the lines of a dialogue: `expect: ...` and `send: ...`.
    # RFC 3207 section 4: a bare word, in a dialogue of replies with numbers; NNTP and IRC have other numbers.
    ("smtp", r"ehlo|esmtp|helo|^expect: .*220.*\n(.*\n)*send: starttls\s*$"),
    # RFC 9051 section 2.2.1: each command begins with a tag of the client's choice.
    ("imap", r"capability|imap|\* ok|^send: \S+ starttls\s*$"),
    ("pop3", r"stls|\+ok|pop3"),
    ("ftp", r"auth tls"),
    ("xmpp", r"jabber|xmpp|<stream"),
    ("postgres", r"postgres"),
)


_HTTP_ONLY = (
    *("valid_status_codes", "valid_http_versions", "fail_if_body_matches_regexp", "method", "body"),
    *("fail_if_body_not_matches_regexp", "fail_if_header_matches", "fail_if_header_not_matches", "headers"),
    *("basic_auth", "bearer_token", "bearer_token_file", "oauth2", "authorization", "compression"),
    *("fail_if_body_json_matches_cel", "fail_if_body_json_not_matches_cel", "accept_any_response"),
    *("follow_redirects", "no_follow_redirects", "fail_if_ssl", "fail_if_not_ssl", "enable_http2"),
    *("enable_http3", "http_headers", "body_file", "body_size_limit", "max_response_length"),
)
"""Keys that are about a page."""


_KNOWN = {
    "module": ("prober", "timeout", "target", "tls_config", "proxy_url"),
    "prober": (
        *("tls", "tls_config", "starttls", "query_response", "proxy_url", "service", "dns_over_tls"),
        *("proxy_from_environment", "no_proxy", "proxy_connect_header", "source_ip_address"),
        *("preferred_ip_protocol", "ip_protocol_fallback", "skip_resolve_phase_with_proxy", "kubeconfig"),
        *("query_name", "query_type", "query_class", "transport_protocol", "recursion_desired"),
        *("valid_rcodes", "validate_answer_rrs", "validate_authority_rrs", "validate_additional_rrs"),
    ),
    "tls_config": (
        *("ca_file", "server_name", "cert_file", "key_file", "insecure_skip_verify", "ca", "cert", "key"),
        *("min_version", "max_version", "renegotiation"),
    ),
}
"""Keys that are understood, or say nothing about the certificate, by where they stand."""


def of_blackbox(text: str, moved: Moved) -> None:
    """
    Take the modules of a `blackbox.yml`. Raises MoveError.
    """
    _modules(text, moved, "blackbox_exporter")


def of_ssl_exporter(text: str, moved: Moved) -> None:
    """
    Take the modules of ssl_exporter's file. Raises MoveError.
    """
    _modules(text, moved, "ssl_exporter")


_ITS_OWN = {
    "blackbox_exporter": ("icmp", "dns", "grpc", "unix", "websocket"),
    "ssl_exporter": ("https", "file", "http_file", "kubernetes", "kubeconfig"),
}
"""Probers that only one of the two has."""


_READ = {
    "file": "file:///etc/ssl/*.pem",
    "kubernetes": "kubernetes://prod/*",
    "pem+https": "pem+https://ca.example.com/*",
}
"""By scheme of what is read, not connected to, an example of the entry of `probe.allow` that it needs."""


_NO_COUNTERPART = {
    "proxy_from_environment": "name the proxy of the environment in `proxy`",
    "no_proxy": "a proxy is used for all targets of the module; those without one need a module of their own",
    "proxy_connect_header": "a proxy is asked without further headers",
    "source_ip_address": "connections come from the address that the system chooses",
}
"""By key of a prober's section that can't be taken, what is done here."""


_FLAGS = {"blackbox_exporter": "--blackbox", "ssl_exporter": "--ssl-exporter"}


def _modules(text: str, moved: Moved, kind: str) -> None:
    documents = mappings_in(text, f"configuration of {kind}", "modules")
    modules = [
        (str(name), module if isinstance(module, dict) else {})
        for document in documents
        for name, module in part(document, "modules").items()
    ]
    probers = {str(module.get("prober", "")) for _, module in modules}
    other = next(one for one in _ITS_OWN if one != kind)
    if (found := probers.intersection(_ITS_OWN[other])) and not probers.intersection(_ITS_OWN[kind]):
        raise MoveError(
            f"is no configuration of {kind}, which has no prober {min(found)}; it looks like one of {other}: "
            f"give it as {_FLAGS[other]}"
        )
    moved.given.add(kind)
    for name, module in modules:
        if name in moved.modules:
            moved.left.append(f"module {name} of {kind}: there is one of this name already")
            continue
        made = _module(name, module, moved, kind)
        if made is not None:
            moved.modules[name] = made
            moved.pages.discard(name)
            if kind == "blackbox_exporter" and module.get("prober") == "http":
                moved.pages.add(name)
    for document in documents:
        if kind == "ssl_exporter" and (default := str(document.get("default_module") or "")):
            moved.defaults[kind] = moved.default_module = default


def _module(name: str, module: dict[str, Any], moved: Moved, kind: str) -> dict[str, Any] | None:
    """
    Return a module of ours; None where it sees no certificate. `kind`: whose it is.
    """
    where, prober = f"module {name}", str(module.get("prober", ""))
    settings: dict[str, Any] = {}
    if module.get("timeout"):
        settings["timeout"] = str(module["timeout"])
    settings |= _own_target(name, module, moved)
    # blackbox_exporter has it inside the prober's own section.
    inner = part(module, prober) or part(module, prober.removesuffix("s"))
    tls = part(inner, "tls_config") or part(module, "tls_config")
    match prober:
        case "http" | "https" | "grpc":
            scheme = "https"
            settings |= _named_in_header(inner)
            if prober == "grpc" and not inner.get("tls"):
                moved.left.append(f"{where}: gRPC without TLS has no certificate")
                return None
            if inner.get("fail_if_ssl"):
                moved.left.append(
                    f"{where}: fail_if_ssl: its pages must not have TLS, so they have no certificate; keep "
                    "blackbox_exporter for it"
                )
                return None
            if ignored := [key for key in _HTTP_ONLY if key in inner]:
                moved.changes.append(
                    f"{where}: {', '.join(ignored)}: no page is asked for here, only the certificate "
                    "is seen; keep blackbox_exporter for that"
                )
        case "tcp":
            scheme = _tcp_scheme(where, inner, moved, encrypted=kind == "ssl_exporter")
            if not scheme:
                return None
        case "file" | "kubeconfig":
            scheme = "file"
        case "http_file":
            scheme = "pem+https"
        case "kubernetes":
            scheme = "kubernetes"
            if kubeconfig := part(module, "kubernetes").get("kubeconfig"):
                settings["kubernetes"] = {"kubeconfig": str(kubeconfig)}
        case "dns" if inner.get("dns_over_tls"):
            scheme = "dot"
            moved.changes.append(f"{where}: nothing is looked up, only the server's certificate is seen")
        case "websocket":
            moved.left.append(
                f"{where}: prober websocket has no counterpart; write https://HOST:PORT for its targets wss://"
            )
            return None
        case "icmp" | "dns" | "unix":
            moved.left.append(f"{where}: prober {prober} sees no certificate; keep blackbox_exporter for it")
            return None
        case _:
            moved.left.append(f"{where}: prober {prober or 'missing'} is not known here")
            return None
    settings |= tls_settings(tls, where, moved)
    _tell_unknown(where, module, inner, tls, prober, moved)
    if proxy := inner.get("proxy_url") or module.get("proxy_url"):
        settings["proxy"] = str(proxy)
    _address_family(where, inner, settings, moved)
    if scheme not in _READ:
        # As there, the first address; what is behind the others is seen once this is removed.
        settings["addresses"] = "first"
        moved.changes.append(
            "modules probe the first address of a name, as before; remove `addresses: first` to see each "
            "server behind a name"
        )
    elif "target" not in settings:
        moved.changes.append(
            f"{where}: /probe answers for the targets that are written here; for others probe.allow must "
            f"permit what may be read, such as {_READ[scheme]}"
        )
    return {"scheme": scheme, **settings}


def _own_target(name: str, module: Mapping[str, Any], moved: Moved) -> dict[str, str]:
    """
    Return the one target that a module has whatever a caller names, as its setting here.
    """
    if not module.get("target"):
        return {}
    moved.fixed[name] = target = str(module["target"])
    if without_braces(target) == [target]:
        return {"target": target}
    moved.left.append(
        f"module {name}: its target {target}: a module has one target here, without braces; write "
        f"{' and '.join(file_urls(target))} as targets"
    )
    return {}


def _named_in_header(inner: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the name that the server is asked for: that of a header Host, as in blackbox_exporter.
    """
    named = {str(key).lower(): str(value) for key, value in part(inner, "headers").items()}
    return {"server_name": named["host"]} if named.get("host") else {}


def _tell_unknown(
    where: str,
    module: Mapping[str, Any],
    inner: Mapping[str, Any],
    tls: Mapping[str, Any],
    prober: str,
    moved: Moved,
) -> None:
    """
    Tell of the keys of a module, of its prober's section and of its TLS that are passed over.
    """
    sections = (prober, prober.removesuffix("s"))
    moved.left += [f"{where}: {key}: {words}" for key, words in _NO_COUNTERPART.items() if inner.get(key)]
    unknown = [
        *(key for key in module if key not in {*_KNOWN["module"], *sections}),
        *(f"{prober}.{key}" for key in inner if key not in {*_KNOWN["prober"], *_HTTP_ONLY}),
        *(f"tls_config.{key}" for key in tls if key not in _KNOWN["tls_config"]),
    ]
    if unknown:
        moved.left.append(f"{where}: {', '.join(unknown)}: not known here")


def _tcp_scheme(where: str, tcp: Mapping[str, Any], moved: Moved, *, encrypted: bool) -> str:
    """
    Return the scheme of a TCP prober: with TLS from the beginning or after a dialogue; empty without TLS.
    """
    starttls = str(tcp.get("starttls") or "")
    if starttls:
        if starttls in SCHEMES and SCHEMES[starttls].dialogue:
            return starttls
        moved.left.append(f"{where}: starttls {starttls} is no protocol that is known here")
        return ""
    steps = [step for step in items(tcp, "query_response") if isinstance(step, dict)]
    if any(step.get("starttls") for step in steps):
        spoken = "\n".join(
            f"{key}: {step[key]}" for step in steps for key in ("expect", "send") if step.get(key)
        )
        scheme = next(
            (one for one, words in _DIALOGUES if re.search(words, spoken, re.MULTILINE | re.IGNORECASE)), ""
        )
        if scheme:
            moved.changes.append(f"{where}: its dialogue is our own of {scheme}://")
            return scheme
        moved.left.append(f"{where}: its dialogue before TLS is none that is known here")
        return ""
    if encrypted or tcp.get("tls"):
        if steps:
            moved.changes.append(f"{where}: query_response: nothing is said there, only TLS is begun")
        return "tls"
    moved.left.append(f"{where}: TCP without TLS has no certificate; keep blackbox_exporter for it")
    return ""


def _address_family(where: str, inner: Mapping[str, Any], settings: dict[str, Any], moved: Moved) -> None:
    family = {"ip4": "ipv4", "ip6": "ipv6"}.get(str(inner.get("preferred_ip_protocol", "")))
    if family is None:
        return
    if not inner.get("ip_protocol_fallback", True):
        settings["address_family"] = family
    else:
        moved.changes.append(f"{where}: preferred_ip_protocol with a fallback: both families count here")
