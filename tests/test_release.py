"""
What a release is made of, the locks, and the workflows that test and release.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema  # type: ignore[import-untyped] # it has none
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client.parser import text_string_to_metric_families

from exporter import __version__
from tests.image.builder import wheels
from tests.support.demo import REASONS, STATES
from tests.support.processes import answers, free_port, running
from tests.support.readme import REPOSITORY

BESIDE = Path(sys.executable).parent

WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))

PROJECT = PYPROJECT["project"]


def locked(name: str) -> dict[str, set[str]]:
    """
    The versions in a lock, by the name of the library.
    """
    versions: dict[str, set[str]] = {}
    for line in (REPOSITORY / ".locks" / name).read_text("utf-8").splitlines():
        if found := re.match(r"([a-z0-9.-]+)==([^ ;]+)", line):
            versions.setdefault(found[1], set()).add(found[2])
    return versions


ASKED = {
    "image.txt": PROJECT["dependencies"],
    "dev.txt": [
        *PROJECT["dependencies"],
        *(one for extra in ("dev", "quic") for one in PROJECT["optional-dependencies"][extra]),
    ],
    "build.txt": PYPROJECT["build-system"]["requires"],
}


@pytest.mark.parametrize(("lock", "asked"), ASKED.items(), ids=["image", "tests", "build"])
def test_a_lock_has_what_the_project_asks_for(lock: str, asked: list[str]) -> None:
    """
    After a change of dependencies, tests/lock writes it anew.
    """
    versions = locked(lock)
    for requirement in map(Requirement, asked):
        found = versions.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement} is not in .locks/{lock}: run tests/lock"
        assert all(map(requirement.specifier.contains, found)), f"{requirement}: run tests/lock"


@pytest.mark.parametrize("lock", ["image.txt", "build.txt"])
def test_the_image_has_the_libraries_that_were_tested(lock: str) -> None:
    """
    What is shipped in the image, and what builds it, was tested in just that version.
    """
    tests = locked("dev.txt")
    assert {name: tests.get(name) for name in locked(lock)} == locked(lock)


def test_the_dockerfile_installs_only_what_is_locked() -> None:
    """
    By hashes; only the wheel of this source has none, and nothing is fetched to build it.
    """
    dockerfile = (REPOSITORY / "Dockerfile").read_text("utf-8")
    calls = [line.split() for line in re.findall(r"bin/pip (.+?)(?: \\)?$", dockerfile, re.MULTILINE)]
    unlocked = [call for call in calls if "--require-hashes" not in call]
    assert len(calls) > len(unlocked)
    for call in unlocked:
        assert "--no-deps" in call
        assert "--no-build-isolation" in call or call[-1].endswith(".whl")


def test_each_library_of_a_lock_has_its_hashes() -> None:
    """
    Pip refuses another file of the same name and version.
    """
    for path in (REPOSITORY / ".locks").iterdir():
        for block in re.split(r"\n(?=[a-z])", path.read_text("utf-8")):
            assert "--hash=sha256:" in block, f"{path.name}: {block}"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The directory into which a release was built, of the wheels of which the image is built too: to read the
    index for each library of the lock takes longer than all the rest of pip's work.
    """
    directory = tmp_path_factory.mktemp("release")
    found = wheels(f"{sys.version_info[0]}.{sys.version_info[1]}")
    done = subprocess.run(
        [REPOSITORY / ".github/build", directory],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        # Nothing else, wherever pip is told to look on this machine.
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(found)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def test_a_release_has_the_wheel_and_the_sources(release: Path) -> None:
    """
    Of this version.
    """
    wheel = release / f"expiry_exporter-{__version__}-py3-none-any.whl"
    assert "exporter/alerts/rules.yml" in zipfile.ZipFile(wheel).namelist()
    assert (release / f"expiry_exporter-{__version__}.tar.gz").is_file()


def test_the_bill_of_materials_names_what_is_shipped(release: Path) -> None:
    """
    Each library of the image's lock in its version, and the exporter itself; nothing of this machine. It is
    as its schema says, which the build does not ask.
    """
    text = (release / "sbom.cdx.json").read_text("utf-8")
    bill: dict[str, Any] = json.loads(text)
    assert bill["bomFormat"] == "CycloneDX"
    form = SchemaVersion.from_version(bill["specVersion"])
    assert JsonStrictValidator(form).validate_str(text) is None
    # The schema's own check of addresses is not loaded here (see conftest.py).
    addresses = [one["url"] for part in bill["components"] for one in part.get("externalReferences", ())]
    assert addresses
    assert [url for url in addresses if not re.fullmatch(r"https?://[\w.-]+(/[!-~]*)?", url)] == []
    shipped = {canonicalize_name(one["name"]): one["version"] for one in bill["components"]}
    assert {name: {shipped[name]} for name in shipped if name != "expiry-exporter"}.items() <= locked(
        "image.txt"
    ).items()
    needed = {canonicalize_name(Requirement(one).name) for one in PROJECT["dependencies"]}
    assert needed <= shipped.keys()
    assert bill["metadata"]["component"]["name"] == "expiry-exporter"
    assert str(Path.home()) not in text
    assert "/tmp/" not in text


def test_every_library_says_its_licence(release: Path) -> None:
    """
    And none is one that would bind those who ship the image to publish their own code.
    """
    table = (release / "licences.md").read_text("utf-8")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    assert len(rows) >= len(PROJECT["dependencies"])
    for name, _, licence, _ in rows:
        assert licence not in {"", "UNKNOWN"}, name
        assert not re.search(r"(^|[^L])GPL|AGPL", licence), (name, licence)


def test_the_package_has_the_program_with_its_libraries_and_units(release: Path, tmp_path: Path) -> None:
    """
    Where the units expect it, with nothing of the machine that built it, for that Python only.
    """
    (package,) = release.glob("expiry-exporter_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True, timeout=60)
    subprocess.run(["dpkg-deb", "--control", package, tmp_path / "control"], check=True, timeout=60)
    told = (tmp_path / "control/control").read_text("utf-8")
    this, following = (f"3.{sys.version_info[1] + more}" for more in (0, 1))
    assert f"Depends: python3 (>= {this}), python3 (<< {following})," in told
    # All that it has below /etc, so that an upgrade asks before it replaces what was changed there.
    kept = (tmp_path / "control/conffiles").read_text("utf-8").split()
    assert sorted(kept) == sorted(
        f"/{path.relative_to(tmp_path)}" for path in (tmp_path / "etc").rglob("*") if path.is_file()
    )
    assert "/etc/expiry-exporter/expiry.yml" in kept
    for script in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", tmp_path / "control" / script], check=True, timeout=60)
    unit = (tmp_path / "usr/lib/systemd/system/expiry-exporter.service").read_text("utf-8")
    program = re.search(r"ExecStart=/(\S+)", unit)
    assert program is not None
    assert (tmp_path / program[1]).read_text("utf-8").startswith("#!/opt/expiry-exporter/bin/python")
    assert (tmp_path / "usr/bin/expiry-exporter").readlink() == Path("/") / program[1]
    inside = tmp_path / "opt/expiry-exporter"
    built = [path for path in inside.rglob("*") if path.is_file() and b"/image/" in path.read_bytes()[:400]]
    assert not built
    assert libraries(tmp_path).is_dir()


def libraries(package: Path) -> Path:
    """
    The directory of the libraries in a package that was extracted here.
    """
    return next((package / "opt/expiry-exporter").glob("lib/python3*/site-packages"))


def test_the_program_runs_where_nothing_else_is_installed(release: Path, tmp_path: Path) -> None:
    """
    Its demo shows every state in /metrics and on the page; alert files, dashboards, the manual and what
    `deploy` writes are in it. By the package, whose libraries and wheel are those of the release.
    """
    (package,) = release.glob("expiry-exporter_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True, timeout=60)
    # Without the libraries of these tests, in a directory where the source here is not what runs.
    # With the system's own Python, as the package has it: often an early release, not that of these tests.
    python = Path("/usr/bin") / libraries(tmp_path).parent.name
    interpreter = python if python.exists() else sys.executable
    program: list[str | Path] = [interpreter, "-S", tmp_path / "opt/expiry-exporter/bin/expiry-exporter"]
    env = {"PYTHONPATH": str(libraries(tmp_path))}

    def output(*arguments: str | Path) -> bytes:
        command = [*program, *arguments]
        return subprocess.run(command, check=True, cwd=tmp_path, env=env, stdout=subprocess.PIPE).stdout

    assert output("--version").decode().startswith(f"expiry-exporter {__version__}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def page(path: str) -> str:
        with opener.open(f"{url}{path}") as answer:
            return str(answer.read().decode())

    command = [*program, "demo", f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, ready=answers(f"{url}/-/ready"), cwd=tmp_path, env=env):
        metrics, status, style = page("/metrics"), page("/"), page("/assets/page.css")
        calendar, chapters, runbook = page("/calendar.ics"), page("/docs/"), page("/runbooks/ExpirySoon")
    samples = [one for family in text_string_to_metric_families(metrics) for one in family.samples]
    assert {one.labels["target"] for one in samples if one.name == "expiry_target_info"} == set(STATES)
    reasons = {
        (one.labels["target"], one.labels["reason"])
        for one in samples
        if one.name in {"expiry_probe_failure_info", "expiry_verification_failure_info"}
    }
    assert reasons == set(REASONS.items())
    assert all(f"<bdi>{name}</bdi>" in status for name in STATES)
    assert ".badge" in style
    assert "healthy: certificate expires" in calendar
    assert "Traceback" not in status
    manual, alerts, grafana = (REPOSITORY / name for name in ("exporter/manual", "alerts", "grafana"))
    assert all(f'href="{path.stem}"' in chapters for path in manual.iterdir())
    assert '<h1 id="expirysoon">' in runbook
    for file in (manual / "reasons.md", alerts / "runbooks/ExpirySoon.md"):
        assert output("manual", file.stem) == file.read_bytes()
    output("alerts", "--output-dir", tmp_path / "alerts")
    written = [path.relative_to(tmp_path / "alerts") for path in (tmp_path / "alerts").rglob("*")]
    shipped = [path.relative_to(alerts) for path in alerts.rglob("*")]
    assert sorted(written) == sorted(path for path in shipped if not path.name.endswith(".test.yml"))
    output("dashboards", "--output-dir", tmp_path / "grafana")
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "grafana").iterdir()}
    assert drawn == {f"expiry-{path.name}": path.read_bytes() for path in grafana.glob("*.json")}
    for kind in ("compose", "kubernetes", "helm", "systemd"):
        output("deploy", kind, "--output-dir", tmp_path / kind)
    assert (tmp_path / "helm/values.schema.json").is_file()


def test_the_sums_fit(release: Path) -> None:
    """
    SHA256SUMS has each file of the release, with its sum.
    """
    sums = dict(line.split("  ")[::-1] for line in (release / "SHA256SUMS").read_text("utf-8").splitlines())
    files = {path.name: path.read_bytes() for path in release.iterdir() if path.name != "SHA256SUMS"}
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def linted(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """
    Run one of the linters that the tests' environment has, with the text as its input.
    """
    return subprocess.run(
        [BESIDE / command[0], *command[1:]],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )


def lint(*command: str) -> None:
    """
    Fail with the output of a linter that finds something.
    """
    done = linted(*command)
    assert done.returncode == 0, done.stdout + done.stderr


CHECK = "import sys; sys.modules['rfc3987_syntax'] = None; from check_jsonschema import main; main()"
"""The command check-jsonschema without what none of these schemas uses."""


def test_workflows_are_what_github_takes() -> None:
    """
    By the schemas that GitHub's own products use. No form of theirs is an international address, whose
    grammars take seconds to load.
    """
    for name, paths in (("github-workflows", WORKFLOWS), ("dependabot", [".github/dependabot.yml"])):
        assert '"format": "iri' not in json.dumps(get_builtin_schema(f"vendor.{name}"))
        lint("python", "-c", CHECK, f"--builtin-schema=vendor.{name}", *map(str, paths))


# Without the linters of scripts, which it would use where they happen to be.
ACTIONLINT = ("actionlint", "-no-color", "-shellcheck=", "-pyflakes=")


def test_workflows_mean_something() -> None:
    """
    Keys, runners, expressions, inputs of actions and the jobs that one needs are what GitHub knows.
    """
    lint(*ACTIONLINT, *map(str, WORKFLOWS))


@pytest.mark.parametrize(
    ("name", "right", "wrong", "rule"),
    [
        ("test.yml", "runs-on: ubuntu-24.04", "run-on: ubuntu-24.04", "syntax-check"),
        ("test.yml", "runs-on: ubuntu-24.04", "runs-on: ubuntu-24.4", "runner-label"),
        ("test.yml", "matrix.python }}", "matrix.pyton }}", "expression"),
        ("test.yml", "matrix.python }}", "matrix.python", "expression"),
        ("release.yml", "needs: build", "needs: biuld", "job-needs"),
    ],
)
def test_a_workflow_that_github_would_refuse_is_found(name: str, right: str, wrong: str, rule: str) -> None:
    """
    Each of these is a workflow of this project with one mistake in it.
    """
    text = (REPOSITORY / ".github/workflows" / name).read_text("utf-8")
    assert right in text
    done = linted(*ACTIONLINT, "-", text=text.replace(right, wrong))
    assert done.returncode == 1
    assert f"[{rule}]" in done.stdout


def test_workflows_give_an_attacker_nothing() -> None:
    """
    As far as zizmor sees: no expression in a script, no credentials left behind, no right that is not needed.
    """
    lint("zizmor", "--offline", "--no-progress", ".github")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned(path: Path) -> None:
    """
    To a commit, with the version behind it: a tag can be moved to other code.
    """
    uses = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert uses
    for use in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use


def test_workflows_try_the_pythons_that_are_named() -> None:
    """
    Those of the classifiers in pyproject.toml.
    """
    named = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    jobs = yaml.safe_load((REPOSITORY / ".github/workflows/test.yml").read_text("utf-8"))["jobs"]
    assert jobs["versions"]["strategy"]["matrix"]["python"] == named
