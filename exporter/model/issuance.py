"""
Issuances: certificates that public logs know of (RFC 9162), wherever they are served, if they are.
"""

from dataclasses import dataclass

from exporter.model.observation import Certificate


@dataclass(frozen=True, slots=True)
class Issuance:
    """
    One certificate that was issued. Its precertificate is the same issuance.
    """

    names: tuple[str, ...]
    """DNS names in lower case, sorted, A-labels and wildcards; a server may list those of one domain only."""
    not_before: float
    not_after: float
    """The last second of validity, in seconds since the epoch."""
    issuer: str
    """RFC 4514 string, as `Certificate.issuer`."""
    organization: str
    """The organization in the issuer's name, or the whole name where it has none."""
    serial: str
    """Lower-case hexadecimal, no leading zeros; empty when the server does not say it."""
    key: str
    """As `Certificate.public_key_sha256`; empty when the server does not say it."""
    reference: str
    """Where a person finds it: `number 7 at crt.sh`."""

    @property
    def lifetime(self) -> float:
        """
        Seconds from `not_before` to `not_after`.
        """
        return self.not_after - self.not_before

    def is_of(self, certificate: Certificate) -> bool:
        """
        Return True when this certificate is the one that was issued.

        Without serial number and key it is one of the same validity, to the second, that has its names.
        """
        if (self.not_before, self.not_after) != (certificate.not_before, certificate.not_after):
            return False
        if self.serial or self.key:
            return self.serial in {"", certificate.serial} and self.key in {"", certificate.public_key_sha256}
        return {name.lower() for name in certificate.dns_names}.issuperset(self.names)
