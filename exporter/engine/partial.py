"""
Facts of which only a part could be read, with what was read before.
"""

from dataclasses import replace

from exporter.model.observation import Facts
from exporter.model.reasons import Kind


def with_missing(facts: Facts, before: Facts) -> Facts:
    """
    Return the facts that could be read now, with the earlier items that are missing among them.

    A file that was half overwritten must not silence the warning about what could not be read. A certificate
    that is still there keeps its earlier item: beside unreadable ones it may be taken for another kind.
    """
    named = {item.name for item in facts.items}
    was = {
        item.certificate.fingerprint_sha256: item
        for item in before.items
        if item.certificate is not None and item.name not in named
    }
    if was:
        items = tuple(
            was.get(item.certificate.fingerprint_sha256, item) if item.certificate is not None else item
            for item in facts.items
        )
        facts = replace(facts, items=tuple(dict.fromkeys(items)))
    there = {item.name for item in facts.items}
    missing = tuple(item for item in before.items if item.name not in there)
    if not missing:
        return facts
    leaves = {item.certificate for item in missing if item.kind is Kind.LEAF}
    chains = tuple(chain for chain in before.chains if chain.leaf in leaves)
    return replace(facts, items=(*facts.items, *missing), chains=(*facts.chains, *chains))
