"""
API servers, proxies and plugins that repeat what they were told in confidence: nobody else reads it.
"""

import asyncio
import base64
import json
import logging
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from exporter.config.settings import Config
from exporter.logs import LogfmtFormatter
from exporter.model.errors import ProbeError
from exporter.probes.kubernetes.exec_plugins import run
from exporter.server.app import application
from exporter.server.service import Options, Service
from tests.formats.samples import leaf
from tests.probes.kubernetes.api_server import TOKEN, api_server, kubeconfig, secret
from tests.probes.kubernetes.looking import of, world
from tests.probes.kubernetes.test_credential_plugins import of_script
from tests.support.certificates import NOW
from tests.support.rows import detail

PAGES = ("/metrics", "/", "/api/v1/items", "/probe?target=kube&debug=true", "/targets/kube", "/calendar.ics")


async def test_the_token_is_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Not in the log, on a page, in a metric, in JSON, among the steps; nor is what a terminal acts on.
    """
    caplog.set_level(logging.DEBUG)
    async with api_server() as fake:
        fake.echoes = True
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(fake, {"token": TOKEN})), encoding="utf-8")
        target = of("prod/web", kubeconfig=file, name="kube")
        service = Service(lambda: Config((target,)), Options(), asyncio.get_running_loop(), lambda: NOW)
        try:
            async with TestClient(TestServer(application(service, 0.5))) as client:
                texts = [await (await client.get(page)).text() for page in PAGES]
        finally:
            await service.close()
    shown = "\n".join(texts)
    assert r"denied: Authorization: Bearer [hidden] [hidden] [hidden]" in shown
    log = "\n".join(map(LogfmtFormatter().format, caplog.records))
    for said in (shown, log):
        assert "denied" in said
        for form in (TOKEN, TOKEN[:20], base64.b64encode(TOKEN.encode()).decode(), "\x1b", "\u202e"):
            assert form not in said


async def test_an_object_is_not_called_like_the_token(tmp_path: Path) -> None:
    """
    Names become labels.
    """
    async with world(tmp_path) as here:
        here.fake.fill("secrets", secret("prod", TOKEN, tls_crt=leaf().pem))
        (row,) = await here.look(of("prod/*"))
        assert "repeats the token" in detail(row)
        assert TOKEN not in repr(row)
        here.fake.objects.clear()
        here.fake.fill("secrets", secret("prod", "web", tls_crt=leaf().pem))
        await here.until(of("prod/*"), lambda found: found == {"prod/web:tls.crt": "seen"})


# The exporter itself starts the plugin.
@pytest.mark.programs
async def test_a_plugin_s_environment_and_its_token_are_not_told(tmp_path: Path) -> None:
    """
    Also when it fails after it printed a credential, and encodes what it says. Where a file is, is told.
    """
    script = (
        'echo \'{"status": {"token": "tiger-lily-77"}}\'; '
        'echo "no: $CLOUD_SECRET $(printf %s "$CLOUD_SECRET" | base64) $TOKEN_FILE tiger-lily-77" >&2; exit 1'
    )
    environ = {"CLOUD_SECRET": "correct horse", "TOKEN_FILE": "/run/secrets/token", "PATH": "/usr/bin:/bin"}
    with pytest.raises(ProbeError) as caught:
        await run(of_script(tmp_path, script), environ)
    assert caught.value.detail.endswith(": no: [hidden] [hidden] /run/secrets/token [hidden]")
