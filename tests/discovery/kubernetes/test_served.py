"""
What the source is for: a certificate that was renewed in its Secret and is not served, told by itself.
"""

import asyncio
import json
import time
from pathlib import Path

from exporter.config.reader import load
from exporter.demo.minter import root
from exporter.server.service import Options, Service
from tests.discovery.kubernetes.objects import gateway, listener
from tests.probes.kubernetes.api_server import TOKEN, api_server, kubeconfig, secret
from tests.probes.kubernetes.looking import eventually
from tests.support.certificates import DAY
from tests.support.servers import Site, nginx


async def test_what_is_served_is_compared_with_its_secret(tmp_path: Path) -> None:
    """
    A real nginx with the old certificate, a Secret with the new one, and a configuration that names neither.
    """
    loop = asyncio.get_running_loop()
    async with api_server() as fake:
        now = time.time()
        ca = root("Shop CA", not_before=now - 400 * DAY, not_after=now + 400 * DAY)
        # Certificates of localhost alone are another host on each machine, and not compared.
        names = ["shop.example", "localhost"]
        old = ca.issue("shop.example", names, not_before=now - 85 * DAY, not_after=now + 5 * DAY)
        new = ca.issue("shop.example", names, not_before=now - 25 * DAY, not_after=now + 65 * DAY)
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig(fake, {"token": TOKEN})), encoding="utf-8")
        (tmp_path / "expiry.yml").write_text(f"discover: [{{kubernetes: {{kubeconfig: {path}}}}}]")
        with nginx(tmp_path, Site([old.chain])) as server:
            fake.fill("secrets", secret("shop", "web-tls", tls_crt=new.chain_pem, tls_key=new.key_pem))
            fake.fill("gateways", gateway("shop/gw", listener("localhost", server.port, "HTTPS", "web-tls")))
            service = Service(lambda: load(str(tmp_path / "expiry.yml"), {}), Options(), loop)
            service.start()
            try:
                await eventually(lambda: not service.discovery.pending)
                text = service.text(await service.scrape(10))
            finally:
                views = service.dependencies.kubernetes.views
                await service.close()
                await eventually(lambda: all(view.ended for view in views))
    lines = text.splitlines()
    url = f"https://localhost:{server.port}"
    assert [one.name for one in service.discovery.known.targets] == [url, "kubernetes://shop/web-tls"]
    told = [one for one in lines if one.startswith("expiry_problem_info") and "not_deployed" in one]
    assert told
    assert all(f'target="{url}"' in one for one in told)
    newest = [
        one for one in lines if one.startswith(f'expiry_newest_not_after_timestamp_seconds{{target="{url}"')
    ]
    assert float(newest[0].split()[-1]) == new.certificate.not_valid_after_utc.timestamp()
