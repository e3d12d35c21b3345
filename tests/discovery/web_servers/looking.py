"""
What these tests share: the targets that a source found, looked at as in a scrape.
"""

import asyncio
from collections.abc import Sequence

from exporter.discovery.base import Found
from exporter.engine.scrape import Scrape
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from tests.probes.tls.wire.probing import watching


def targets(found: Sequence[Found]) -> list[Target]:
    """
    The targets that a configuration with these entries has.
    """
    return [Target(parse_url(one.url), one.name or one.url, **one.settings) for one in found]


def scraped(found: Sequence[Found]) -> Scrape:
    """
    One scrape of what was found.
    """

    async def run() -> Scrape:
        async with watching() as watch:
            return await watch.scrape(targets(found), 30.0)

    return asyncio.run(run())


def presented(found: Sequence[Found]) -> dict[str, str]:
    """
    The common name of what each target on the wire presents, or the failure.
    """
    answer = {}
    for row in scraped([one for one in found if not one.url.startswith("file:")]).endpoints:
        held = row.held.facts
        answer[row.target.name] = (
            held.chains[0].leaf.common_name if held is not None else repr(row.held.observation)
        )
    return answer


def files(found: Sequence[Found]) -> list[str]:
    """
    The paths of the targets that are files.
    """
    return [one.url.removeprefix("file://") for one in found if one.url.startswith("file:")]
