"""
OpenSSL's reasons for finding no path from a leaf to a trust anchor: the fault of each, and its words. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from exporter.model.foreign_text import bounded
from exporter.model.observation import Certificate
from exporter.model.reasons import Fault
from exporter.pki.faults import _LENGTH_SHOWN, _shown
from exporter.pki.revocation import issued

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_BAD_SIGNATURE = 7


_SELF_SIGNED_LEAF = 18


_NO_ISSUER = {2, 20, 21}


_NOT_TRUSTED = {19, 27, 28}


NAMESAKES = 8
"""Certificates of one name among those, where there are more."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """
    The reason why OpenSSL found no path.
    """

    code: int
    depth: int
    """The position of the faulty certificate above the leaf; 0 is the leaf."""
    words: str
    certificate: Certificate


def _signer(refusal: _Refusal, others: Sequence[Certificate]) -> Certificate | None:
    """
    Return the issuer of the certificate for which OpenSSL found none; None when it is not there.

    OpenSSL reads no extension of a certificate of which one is damaged, and takes it for issued by nobody.
    """
    below = refusal.certificate
    if refusal.code not in _NO_ISSUER or below.self_issued:
        return None
    named = islice((it for it in others if it.subject == below.issuer), NAMESAKES)
    return next((it for it in named if issued(below.der, it.der)), None)


def _classify(refusal: _Refusal, leaf: Certificate) -> Fault:
    """
    Return the fault that a refusal means.
    """
    if refusal.code == _SELF_SIGNED_LEAF:
        return Fault.SELF_SIGNED
    if refusal.code in _NO_ISSUER and refusal.depth == 0:
        return Fault.SELF_SIGNED if leaf.self_issued else Fault.MISSING_INTERMEDIATE
    if refusal.code in _NO_ISSUER | _NOT_TRUSTED:
        return Fault.UNTRUSTED_ROOT
    return Fault.INVALID_CHAIN


def _refusal_detail(fault: Fault, refusal: _Refusal) -> str:
    """
    Return a sentence on what OpenSSL refused.
    """
    subject, issuer = _shown(refusal.certificate), bounded(refusal.certificate.issuer, _LENGTH_SHOWN)
    if fault is Fault.SELF_SIGNED:
        return f"{subject} signed itself and is not trusted."
    if fault is Fault.MISSING_INTERMEDIATE:
        return (
            f"{issuer}, the issuer of {subject}, was not presented and is not trusted: "
            "the server lacks an intermediate certificate, or a private authority signed."
        )
    if fault is Fault.UNTRUSTED_ROOT and refusal.code in _NO_ISSUER:
        return f"The chain ends in {subject}; its issuer {issuer} was not presented and is not trusted."
    if fault is Fault.UNTRUSTED_ROOT:
        return f"The chain ends in {subject}, which is not trusted."
    return f"OpenSSL refuses {subject}: {refusal.words}."
