"""
The exporter as users start it, except that it asks registries on loopback:

    python -m tests.prometheus.with_registries DOMAINS [FLAG ...]

DOMAINS is a JSON object: for each domain when its registration ends, in seconds since the epoch. Others are
not registered.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Mapping

from exporter.cli import main
from exporter.demo.minter import root
from exporter.probes.domains import registries
from exporter.probes.domains.registries import Servers
from tests.probes.domains.registry import rdap, registry
from tests.support.certificates import DAY


async def _serve(ends: Mapping[str, float], ready: threading.Event) -> None:
    """
    Answer as the registries, and be those that the exporter asks, as long as the process lives.
    """
    # The exporter verifies by the machine's clock.
    now = time.time()
    above = root("Registries", not_before=now - 90 * DAY, not_after=now + 90 * DAY)
    async with registry(above.issue("Registry CA", ca=True)) as (it, trust):
        it.rdap |= {domain: rdap(domain, end=end) for domain, end in ends.items()}
        servers = Servers(f"{it.base}/dns.json", {}, "127.0.0.1", it.whois_port, trust, gap=0.0)
        vars(registries)["Servers"] = lambda: servers
        ready.set()
        await asyncio.Event().wait()


if __name__ == "__main__":
    serving = threading.Event()
    asking = _serve(json.loads(sys.argv[1]), serving)
    threading.Thread(target=asyncio.run, args=(asking,), daemon=True).start()
    serving.wait()
    sys.exit(main.main(sys.argv[2:]))
