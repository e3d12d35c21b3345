"""
Fleets that the browser is shown.
"""

from exporter.engine.results import ProbeResult
from exporter.model.errors import LeftOut
from exporter.model.observation import Failed
from exporter.model.policies import AUTOMATIC, MANUAL
from exporter.model.reasons import Fault, Reason
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.support.certificates import DAY, NOW

SCRIPT = "<script>alert(1)</script>"

HEBREW = "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED}\N{HEBREW LETTER VAV}\N{HEBREW LETTER FINAL MEM}"
"""Written from right to left."""

TEAMS = ("payments", "learning", "platform", "identity")


def url(host: str) -> str:
    """
    A target's URL, which is its name.
    """
    return f"https://{host}"


def mixed() -> Scene:
    """
    A fleet with something of everything, and much that is well.
    """
    scene = Scene()
    above = intermediate()

    def add(
        host: str, *looks: ProbeResult, team: str = "learning", name: str | None = None, **more: object
    ) -> None:
        settings = {
            "policy": more.pop("policy", AUTOMATIC),
            "labels": (("environment", "production"), ("team", team)),
        }
        scene.see(target(url(host), name=name or url(host), **settings), *looks, **more)  # type: ignore[arg-type] # of `see`

    old = certificate("shop.example.com", begin=NOW - 86 * DAY, end=NOW + 4 * DAY, serial="51")
    new = certificate("shop.example.com", begin=NOW - 2 * DAY, end=NOW + 88 * DAY, serial="52")
    add(
        "shop.example.com",
        seen(facts(old, above), "192.0.2.11:443"),
        seen(facts(new, above), "192.0.2.10:443"),
        team="payments",
    )
    ended = certificate("learn.example.com", begin=NOW - 90 * DAY - 2600, end=NOW - 2600)
    add("learn.example.com", seen(facts(ended, above), "192.0.2.20:443"), found=[Fault.EXPIRED])
    add("ldap.example.com:636", failed(Reason.CONNECTION_REFUSED, "192.0.2.30:636"), team="identity")
    add(
        "mail.example.com",
        seen(facts(certificate("post.example.com"), above), "192.0.2.31:443"),
        found=[Fault.NAME_MISMATCH],
        left_out=[LeftOut("2001:db8::31", "no route to IPv6 from here")],
        team="platform",
    )
    late = certificate("git.example.com", begin=NOW - 70 * DAY, end=NOW + 20 * DAY)
    add("git.example.com", seen(facts(late, above), "192.0.2.32:443"), team="platform")
    bought = certificate(
        "pay.example.com",
        begin=NOW - 340 * DAY,
        end=NOW + 58 * DAY,
        names=("pay.example.com", "www.pay.example.com"),
    )
    add("pay.example.com", seen(facts(bought, above), "192.0.2.33:443"), policy=MANUAL, team="payments")
    scene.see(target(url("evil.example.com"), name=SCRIPT), seen(facts(certificate(SCRIPT), above)))
    hebrew = certificate("rtl.example.com", subject=f"CN={HEBREW},O={HEBREW} 1")
    add("rtl.example.com", seen(facts(hebrew, above), "192.0.2.40:443"))
    many = certificate("many.example.com", names=tuple(f"host-{n}.example.com" for n in range(5000)))
    add("many.example.com", seen(facts(many, above), "192.0.2.41:443"), name="many names")
    shared = certificate("star.example.com", names=("*.example.com",), end=NOW + 60 * DAY)
    for number in range(20):
        add(
            f"shard-{number}.example.com",
            seen(facts(shared, above), f"192.0.2.{100 + number}:443"),
            team=TEAMS[number % 4],
        )
    # A renewal that was seen, then a failure.
    held = target(url("renewed.example.com"), name="renewed, now down", labels=(("team", "platform"),))
    first = certificate("renewed.example.com", begin=NOW - 80 * DAY, end=NOW + 10 * DAY, serial="61")
    second = certificate("renewed.example.com", begin=NOW - 20 * DAY, end=NOW + 70 * DAY, serial="62")
    scene.see(held, seen(facts(first, above), "192.0.2.50:443"), at=NOW - 21 * DAY)
    scene.see(held, seen(facts(second, above), "192.0.2.50:443"), at=NOW - 3600)
    scene.see(held, failed(Reason.CONNECT_TIMEOUT, "192.0.2.50:443"), at=NOW)
    return scene


def large(count: int) -> Scene:
    """
    Very many targets, one in ten of which is late.
    """
    scene = Scene()
    above = intermediate()
    for number in range(count):
        host = f"host-{number:05}.example.com"
        end = NOW + (15 if number % 10 == 0 else 40 + number % 45) * DAY
        found = facts(certificate(host, begin=end - 90 * DAY, end=end, serial=f"{number:x}"), above)
        labels = (("team", TEAMS[number % 4]),)
        scene.see(
            target(url(host), labels=labels),
            seen(found, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:443"),
        )
    return scene


def failing() -> Scene:
    """
    Nothing can be seen.
    """
    scene = Scene()
    for number in range(30):
        host = f"host-{number}.example.com"
        look = ProbeResult(
            f"{host}:443", Failed(Reason.DNS_TIMEOUT, "the resolver did not answer in 4 seconds"), 4.0
        )
        scene.see(target(url(host)), look, located=False)
    return scene


def long_names(count: int) -> Scene:
    """
    So many targets with names, labels and locations of two lines, all of which are late.
    """
    scene = Scene()
    above = intermediate()
    for number in range(count):
        host = f"service-with-a-long-name-{number:04}.department-{number % 7}.emea.corp.example.com"
        found = facts(
            certificate(host, begin=NOW - 75 * DAY, end=NOW + 15 * DAY, serial=f"{number:x}"), above
        )
        labels = (
            ("environment", "production"),
            ("service", f"service-{number}"),
            ("team", f"team-with-a-name-{number % 4}"),
        )
        location = f"[2001:db8:aaaa:bbbb:cccc:dddd:{number:x}:1]:8443"
        scene.see(target(f"{url(host)}:8443", labels=labels), seen(found, location))
    return scene
