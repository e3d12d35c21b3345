"""
The wheel: built, installed where nothing else is, and run.
"""

import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.demo import REASONS, STATES
from tests.support.processes import answers, free_port, running

ROOT = Path(__file__).parent.parent


def test_the_wheel_runs_where_nothing_else_is_installed(tmp_path: Path) -> None:
    """
    Its demo shows every state in /metrics and on the page; alert files, dashboards, the manual and what
    `deploy` writes are in it.
    """
    wheels = tmp_path / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
    (wheel,) = wheels.glob("expiry_exporter-*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--quiet", wheel], check=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = python.with_name("expiry-exporter")
    command: list[str | Path] = [program, "demo", f"--web.listen-address=127.0.0.1:{port}"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    # In another directory, so that the source here is not what runs.
    with running(command, ready=answers(f"{url}/-/ready"), cwd=tmp_path):
        with opener.open(f"{url}/metrics") as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        with opener.open(url) as answer:
            page = answer.read().decode()
        with opener.open(f"{url}/assets/page.css") as answer:
            style = answer.read().decode()
        with opener.open(f"{url}/calendar.ics") as answer:
            calendar = answer.read().decode()
        with opener.open(f"{url}/docs/") as answer:
            chapters = answer.read().decode()
        with opener.open(f"{url}/runbooks/ExpirySoon") as answer:
            runbook = answer.read().decode()
    samples = [sample for family in families for sample in family.samples]
    assert {one.labels["target"] for one in samples if one.name == "expiry_target_info"} == set(STATES)
    reasons = {
        (one.labels["target"], one.labels["reason"])
        for one in samples
        if one.name in {"expiry_probe_failure_info", "expiry_verification_failure_info"}
    }
    assert reasons == set(REASONS.items())
    assert all(f"<bdi>{name}</bdi>" in page for name in STATES)
    assert ".badge" in style
    assert "healthy: certificate expires" in calendar
    assert "Traceback" not in page
    assert all(f'href="{path.stem}"' in chapters for path in (ROOT / "exporter" / "manual").iterdir())
    assert '<h1 id="expirysoon">' in runbook
    for file in (ROOT / "exporter" / "manual" / "reasons.md", ROOT / "alerts" / "runbooks" / "ExpirySoon.md"):
        printed = subprocess.check_output([program, "manual", file.stem], cwd=tmp_path)
        assert printed == file.read_bytes()
    subprocess.run([program, "alerts", "--output-dir", tmp_path / "alerts"], check=True, cwd=tmp_path)
    written = [path.relative_to(tmp_path / "alerts") for path in (tmp_path / "alerts").rglob("*")]
    shipped = [path.relative_to(ROOT / "alerts") for path in (ROOT / "alerts").rglob("*")]
    assert sorted(written) == sorted(path for path in shipped if not path.name.endswith(".test.yml"))
    subprocess.run([program, "dashboards", "--output-dir", tmp_path / "grafana"], check=True, cwd=tmp_path)
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "grafana").iterdir()}
    assert drawn == {f"expiry-{path.name}": path.read_bytes() for path in (ROOT / "grafana").glob("*.json")}
    for kind in ("compose", "kubernetes", "helm", "systemd"):
        command = [program, "deploy", kind, "--output-dir", tmp_path / kind]
        subprocess.run(command, check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
    assert (tmp_path / "helm" / "values.schema.json").is_file()
