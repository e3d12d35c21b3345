"""
The real servers of each protocol, from Debian, with a minted certificate on loopback.

Each is a context manager that gives the port of each scheme. Where a server has a way to speak without TLS,
that is its scheme with `-off` behind it.
"""

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from tests.support.certificates import write_pair
from tests.support.processes import ProcessError, free_port, listening, running
from tests.support.servers import LOOPBACK, Chain

Ports = dict[str, int]
REPOSITORY = Path(__file__).resolve().parents[4]

Argv = Sequence[str | Path]
"""A command line."""

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """
    A directory that a server of any user may enter, with the certificate in it.
    """

    directory: Path
    certificate: Path
    """PEM, with the chain."""
    key: Path
    root: Path
    """PEM of all above the leaf."""

    def write(self, name: str, *lines: str) -> Path:
        """
        A file there with these lines.
        """
        file = self.directory / name
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    def make(self, name: str, user: str = "") -> Path:
        """
        An empty directory there, of this user if there can be another.
        """
        made = self.directory / name
        made.mkdir(exist_ok=True)
        self.give(made, user)
        return made

    def give(self, path: Path, user: str) -> Path:
        """
        The path, which belongs to the user now if root runs the tests.
        """
        if user and os.geteuid() == 0:
            shutil.chown(path, user)
        return path


def as_user(user: str) -> list[str]:
    """
    The beginning of a command line for what refuses to run as root.
    """
    if os.geteuid() != 0:
        return []
    group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


def needs_root(what: str) -> None:
    """
    Skip the test of what changes its users itself, and so is started by root only.
    """
    if os.geteuid() != 0:
        pytest.skip(f"{what} is started by root only")


@contextlib.contextmanager
def place(chain: Chain) -> Iterator[Place]:
    """
    A new directory with the chain and its key.
    """
    # Not pytest's directory, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="starttls-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        certificate, key = write_pair(directory, "server", chain)
        root, _ = write_pair(directory, "root", chain[1:])
        yield Place(directory, certificate, key, root)


@contextlib.contextmanager
def daemon(
    here: Place,
    schemes: Sequence[str],
    command: Callable[[Ports], Argv],
    *,
    ready: Callable[[], bool] | None = None,
    deadline: float = 20.0,
) -> Iterator[Ports]:
    """
    A server that listens on a port for each scheme, within `deadline` seconds.

    `ready` tells whether it does; None: each port takes connections.
    """
    # It works in its own directory: InspIRCd dumps core there when it is ended.
    with contextlib.ExitStack() as stack:
        for attempt in range(1, ATTEMPTS + 1):
            ports = {scheme: free_port() for scheme in schemes}
            taken = [listening(port) for port in ports.values()]
            try:
                process = running(
                    command(ports),
                    ready=ready or (lambda taken=taken: all(one() for one in taken)),  # type: ignore[misc] # of this try
                    deadline=deadline,
                    cwd=here.directory,
                )
                stack.enter_context(process)
                break
            except ProcessError:
                # Another process may have taken a port in between.
                if attempt == ATTEMPTS:
                    raise
        yield ports


@contextlib.contextmanager
def postfix(chain: Chain, *settings: str, screened: bool = False) -> Iterator[Ports]:
    """
    Postfix; with more settings in its main.cf. If screened, a postscreen is in front of its `smtp`, which is
    all there is then, and takes nobody for known.
    """
    needs_root("Postfix")
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            here.make("queue")
            here.make("data", "postfix")
            both = here.directory / "both.pem"
            both.write_bytes(here.key.read_bytes() + here.certificate.read_bytes())
            here.write(
                "main.cf",
                "compatibility_level = 3.6",
                f"queue_directory = {here.directory}/queue",
                f"data_directory = {here.directory}/data",
                "myhostname = mail.example",
                f"inet_interfaces = {LOOPBACK}",
                "inet_protocols = ipv4",
                "local_recipient_maps =",
                "alias_maps =",
                f"smtpd_tls_chain_files = {both}",
                "smtpd_tls_security_level = may",
                "maillog_file = /dev/stdout",
                # Else who is on this host need not wait.
                "postscreen_access_list =",
                *settings,
            )
            services = (
                {}
                if screened
                else {
                    "smtp": "",
                    "submission": " -o smtpd_tls_security_level=encrypt",
                    "smtps": " -o smtpd_tls_wrappermode=yes",
                    "smtp-off": " -o smtpd_tls_security_level=none",
                }
            )
            here.write(
                "master.cf",
                *(
                    f"{LOOPBACK}:{ports[name]} inet n - n - - smtpd{options}"
                    for name, options in services.items()
                ),
                *([f"{LOOPBACK}:{ports['smtp']} inet n - n - 1 postscreen"] if screened else []),
                "smtpd pass - - n - - smtpd",
                "tlsmgr unix - - n 1000? 1 tlsmgr",
                "anvil unix - - n - 1 anvil",
                "postlog unix-dgram n - n - 1 postlogd",
            )
            return ["postfix", "-c", here.directory, "start-fg"]

        try:
            schemes = ("smtp",) if screened else ("smtp", "submission", "smtps", "smtp-off")
            with daemon(here, schemes, command) as ports:
                yield ports
        finally:
            # Its master leaves the group of the process that started it, and makes one of its own.
            with contextlib.suppress(OSError):
                master = (here.directory / "queue" / "pid" / "master.pid").read_text(encoding="ascii")
                os.killpg(int(master), signal.SIGKILL)


_LOGINS = ("imap-login", "pop3-login", "managesieve-login", "submission-login")


@contextlib.contextmanager
def dovecot(chain: Chain) -> Iterator[Ports]:
    """
    Dovecot with all its protocols.
    """
    needs_root("Dovecot")
    services = {
        "imap": ("imap-login", "imap", ""),
        "imaps": ("imap-login", "imaps", "ssl = yes"),
        "pop3": ("pop3-login", "pop3", ""),
        "pop3s": ("pop3-login", "pop3s", "ssl = yes"),
        "sieve": ("managesieve-login", "sieve", ""),
        "submission": ("submission-login", "submission", ""),
        "smtps": ("submission-login", "submissions", "ssl = yes"),
        "lmtp": ("lmtp", "lmtp", ""),
    }
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            run = here.make("run")
            lines = [
                "protocols = imap pop3 sieve submission lmtp",
                f"base_dir = {run}",
                f"state_dir = {run}",
                "log_path = /dev/stderr",
                f"listen = {LOOPBACK}",
                "ssl = yes",
                f"ssl_cert = <{here.certificate}",
                f"ssl_key = <{here.key}",
                "ssl_dh =",
                "hostname = mail.example",
                "submission_relay_host = 127.0.0.1",
                "mail_location = maildir:/nonexistent",
                "passdb {\n driver = static\n args = nopassword=y\n}",
                "userdb {\n driver = static\n args = uid=65534 gid=65534 home=/nonexistent\n}",
            ]
            for scheme, (service, listener, option) in services.items():
                settings = f"port = {ports[scheme]}\n {option}"
                lines.append(f"service {service} {{\n inet_listener {listener} {{\n {settings}\n }}\n}}")
            # One process for many connections: the default forks for each, to be safe from their users.
            lines += [f"service {name} {{\n service_count = 0\n}}" for name in _LOGINS]
            return ["dovecot", "-F", "-c", here.write("dovecot.conf", *lines)]

        with daemon(here, tuple(services), command) as ports:
            yield ports


@contextlib.contextmanager
def slapd(chain: Chain, *, with_tls: bool = True) -> Iterator[Ports]:
    """
    OpenLDAP. Without TLS it has `ldap-off` only.
    """
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            lines = [
                "modulepath /usr/lib/ldap",
                "moduleload back_null",
                f"pidfile {here.directory}/slapd.pid",
            ]
            if with_tls:
                lines += [
                    f"TLSCertificateFile {here.certificate}",
                    f"TLSCertificateKeyFile {here.key}",
                    f"TLSCACertificateFile {here.root}",
                    "TLSVerifyClient never",
                ]
                urls = f"ldap://{LOOPBACK}:{ports['ldap']} ldaps://{LOOPBACK}:{ports['ldaps']}"
            else:
                urls = f"ldap://{LOOPBACK}:{ports['ldap-off']}"
            config = here.write("slapd.conf", *lines, "database null", 'suffix ""')
            return ["slapd", "-d", "0", "-f", config, "-h", urls]

        with daemon(here, ("ldap", "ldaps") if with_tls else ("ldap-off",), command) as ports:
            yield ports


@contextlib.contextmanager
def prosody(chain: Chain) -> Iterator[Ports]:
    """
    Prosody, for clients and for servers, with TLS at once and later.
    """
    schemes = ("xmpp", "xmpps", "xmpp-server", "xmpps-server")
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            config = here.write(
                "prosody.cfg.lua",
                "run_as_root = true",
                f'pidfile = "{here.directory}/prosody.pid"',
                f'data_path = "{here.directory}"',
                'log = { info = "*console" }',
                f'interfaces = {{ "{LOOPBACK}" }}',
                'modules_enabled = { "tls", "saslauth", "dialback" }',
                f'ssl = {{ certificate = "{here.certificate}"; key = "{here.key}" }}',
                f'c2s_direct_tls_ssl = {{ certificate = "{here.certificate}"; key = "{here.key}" }}',
                f's2s_direct_tls_ssl = {{ certificate = "{here.certificate}"; key = "{here.key}" }}',
                f"c2s_ports = {{ {ports['xmpp']} }}",
                f"c2s_direct_tls_ports = {{ {ports['xmpps']} }}",
                f"s2s_ports = {{ {ports['xmpp-server']} }}",
                f"s2s_direct_tls_ports = {{ {ports['xmpps-server']} }}",
                'VirtualHost "www.example"',
            )
            return ["prosody", "--config", config, "-F"]

        with daemon(here, schemes, command) as ports:
            yield ports


@contextlib.contextmanager
def vsftpd(chain: Chain, scheme: str, *settings: str) -> Iterator[Ports]:
    """
    Vsftpd with one of its ways: `ftp`, `ftps` or `ftp-off`; with more settings as in vsftpd.conf(5).
    """
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            config = here.write(
                "vsftpd.conf",
                "listen=YES",
                "background=NO",
                f"listen_address={LOOPBACK}",
                f"listen_port={ports[scheme]}",
                "run_as_launching_user=YES",
                "anonymous_enable=YES",
                "seccomp_sandbox=NO",
                f"secure_chroot_dir={here.make('empty')}",
                f"ssl_enable={'NO' if scheme == 'ftp-off' else 'YES'}",
                f"implicit_ssl={'YES' if scheme == 'ftps' else 'NO'}",
                f"rsa_cert_file={here.certificate}",
                f"rsa_private_key_file={here.key}",
                *settings,
            )
            return ["vsftpd", config]

        with daemon(here, (scheme,), command) as ports:
            yield ports


@contextlib.contextmanager
def postgres(chain: Chain, *, with_tls: bool = True) -> Iterator[Ports]:
    """
    PostgreSQL; `postgres-off` without TLS.
    """
    scheme = "postgres" if with_tls else "postgres-off"
    # Debian keeps these programs in a directory for each version.
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    with place(chain) as here:
        data = here.make("data", "postgres")
        start = as_user("postgres")
        made: Argv = [
            *start,
            programs / "initdb",
            "-D",
            data,
            "-A",
            "trust",
            "--no-sync",
            "--no-instructions",
        ]
        subprocess.run(made, check=True, capture_output=True)
        # PostgreSQL demands that the key is its own user's, or root's and of its group.
        here.give(here.key, "postgres")
        here.key.chmod(0o600)

        def command(ports: Ports) -> Argv:
            settings = [
                f"ssl={'on' if with_tls else 'off'}",
                f"ssl_cert_file={here.certificate}",
                f"ssl_key_file={here.key}",
                f"listen_addresses={LOOPBACK}",
                f"port={ports[scheme]}",
                "unix_socket_directories=",
                "fsync=off",
            ]
            options = [part for setting in settings for part in ("-c", setting)]
            return [*start, programs / "postgres", "-D", data, *options]

        with daemon(here, (scheme,), command) as ports:
            yield ports


@contextlib.contextmanager
def mariadb(chain: Chain, *, with_tls: bool = True) -> Iterator[Ports]:
    """
    MariaDB; `mysql-off` without TLS.
    """
    scheme = "mysql" if with_tls else "mysql-off"
    with place(chain) as here:
        here.give(here.key, "mysql")
        here.give(here.directory, "mysql")

        def command(ports: Ports) -> Argv:
            ssl = [f"--ssl-cert={here.certificate}", f"--ssl-key={here.key}"] if with_tls else ["--skip-ssl"]
            return [
                *as_user("mysql"),
                "mariadbd",
                "--no-defaults",
                f"--datadir={here.make('data', 'mysql')}",
                f"--socket={here.directory}/socket",
                f"--pid-file={here.directory}/pid",
                f"--bind-address={LOOPBACK}",
                f"--port={ports[scheme]}",
                # Nobody logs in: it needs no tables of users, so it starts in an empty directory at once.
                "--skip-grant-tables",
                "--skip-networking=0",
                "--innodb=OFF",
                "--default-storage-engine=MyISAM",
                "--aria-log-dir-path=" + str(here.make("data", "mysql")),
                *ssl,
            ]

        with daemon(here, (scheme,), command) as ports:
            yield ports


@dataclass(frozen=True, slots=True)
class Database:
    """
    A MariaDB that runs, with users.
    """

    host: str
    port: int
    socket: Path

    def login(self) -> "subprocess.CompletedProcess[str]":
        """
        What comes of a login of a user from this host's own address.
        """
        return self._client(f"-h{self.host}", f"-P{self.port}", f"-u{_USER}", f"-p{_PASSWORD}", "-eSELECT 1")

    def counted(self) -> int:
        """
        Errors that count against this host's own address.
        """
        asked = "SELECT sum_connect_errors FROM performance_schema.host_cache"
        return int(self._as_root("-N", "-e", asked).stdout)

    def make(self, *statements: str) -> None:
        """
        Execute these statements.
        """
        self._as_root("-e", "; ".join(statements)).check_returncode()

    def _as_root(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return self._client(f"--socket={self.socket}", "-uroot", *options)

    def _client(self, *options: str) -> "subprocess.CompletedProcess[str]":
        argv = ["mariadb", "--no-defaults", *options]
        return subprocess.run(argv, check=False, capture_output=True, text=True)


_USER, _PASSWORD = "app", "app"

PATIENCE = 3
"""Errors of one address after which that database lets nobody in from there."""


@contextlib.contextmanager
def strict_mariadb(chain: Chain) -> Iterator[Database]:
    """
    MariaDB at an address of this host that is not loopback, which it trusts, with little patience for errors.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            # Sends nothing: it only asks the routing table which address this host would have.
            asking.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this host has no address but loopback")
        host = str(asking.getsockname()[0])
    with place(chain) as here:
        data, socket_file = here.make("data", "mysql"), here.directory / "socket"
        here.give(here.key, "mysql")
        here.give(here.directory, "mysql")
        made = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]
        subprocess.run([*as_user("mysql"), *made], check=True, capture_output=True, cwd=here.directory)

        def command(ports: Ports) -> Argv:
            return [
                *as_user("mysql"),
                "mariadbd",
                "--no-defaults",
                f"--datadir={data}",
                f"--socket={socket_file}",
                f"--pid-file={here.directory}/pid",
                f"--bind-address={host}",
                f"--port={ports['mysql']}",
                f"--max-connect-errors={PATIENCE}",
                "--performance-schema=on",
                "--plugin-load-add=auth_ed25519",
                f"--ssl-cert={here.certificate}",
                f"--ssl-key={here.key}",
            ]

        with daemon(here, ("mysql",), command, ready=socket_file.exists) as ports:
            database = Database(host, ports["mysql"], socket_file)
            database.make(f"CREATE USER {_USER} IDENTIFIED BY '{_PASSWORD}'")
            yield database


@contextlib.contextmanager
def inspircd(chain: Chain) -> Iterator[Ports]:
    """
    InspIRCd, with TLS at once and later.
    """
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            config = here.write(
                "inspircd.conf",
                '<server name="irc.example" description="test" network="Test" id="001">',
                '<admin name="a" nick="a" email="a@example">',
                f'<path configdir="{here.directory}" datadir="{here.make("data")}" logdir="{here.directory}" '
                f'runtimedir="{here.directory}">',
                f'<bind address="{LOOPBACK}" port="{ports["irc"]}" type="clients">',
                f'<bind address="{LOOPBACK}" port="{ports["ircs"]}" type="clients" sslprofile="p">',
                '<connect allow="*" resolvehostnames="no">',
                '<module name="ssl_gnutls">',
                '<module name="starttls">',
                '<starttls sslprofile="p">',
                '<module name="sha256">',
                f'<sslprofile name="p" provider="gnutls" certfile="{here.certificate}" keyfile="{here.key}">',
                '<log method="stderr" type="* -USERINPUT -USEROUTPUT" level="default">',
                f'<pid file="{here.directory}/inspircd.pid">',
                f'<files motd="{here.write("motd", "test")}">',
            )
            root = ["--runasroot"] if os.geteuid() == 0 else []
            return ["inspircd", "--nofork", *root, "--config", config]

        with daemon(here, ("irc", "ircs"), command) as ports:
            yield ports


@contextlib.contextmanager
def redis(chain: Chain) -> Iterator[Ports]:
    """
    Redis with TLS only.
    """
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            config = here.write(
                "redis.conf",
                f"bind {LOOPBACK}",
                "port 0",
                f"tls-port {ports['rediss']}",
                f"tls-cert-file {here.certificate}",
                f"tls-key-file {here.key}",
                f"tls-ca-cert-file {here.root}",
                "tls-auth-clients no",
                'save ""',
                f"dir {here.directory}",
            )
            return ["redis-server", config]

        with daemon(here, ("rediss",), command) as ports:
            yield ports


@contextlib.contextmanager
def unbound(chain: Chain) -> Iterator[Ports]:
    """
    Unbound as a resolver over TLS.
    """
    with place(chain) as here:

        def command(ports: Ports) -> Argv:
            config = here.write(
                "unbound.conf",
                "server:",
                f"  interface: {LOOPBACK}@{ports['dot']}",
                f"  tls-port: {ports['dot']}",
                f"  tls-service-key: {here.key}",
                f"  tls-service-pem: {here.certificate}",
                "  do-daemonize: no",
                '  username: ""',
                '  chroot: ""',
                f'  directory: "{here.directory}"',
                '  pidfile: ""',
                "  use-syslog: no",
                "remote-control:",
                "  control-enable: no",
            )
            return ["unbound", "-d", "-c", config]

        with daemon(here, ("dot",), command) as ports:
            yield ports


INN = REPOSITORY / ".tests" / "inn"
"""INN, unpacked by tests/run: its package can't be set up on a host without a full name."""


@contextlib.contextmanager
def inn(chain: Chain, scheme: str) -> Iterator[Ports]:
    """
    INN's server for readers, `nntp` or `nntps`.
    """
    with place(chain) as here:
        programs = here.make("bin")
        libraries = INN / "usr" / "lib"
        wanted = [libraries / "news" / "bin" / name for name in ("nnrpd", "innbind", "makehistory")]
        # Copied, since the user it runs as may not be able to enter the place of these tests.
        for file in (*wanted, *libraries.glob("news/lib*.so.?"), *libraries.glob("*/libcanlock.so.?")):
            shutil.copy(file, programs)
            # With other rights than its caller's a program would not see LD_LIBRARY_PATH.
            (programs / file.name).chmod(0o755)
        run = here.make("run", "news")
        here.make("run/overview", "news")
        user = "news" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        here.give(here.key, "news")
        here.write("run/active", "control 0 0 n", "junk 0 0 y")
        here.write("run/newsgroups")
        here.write("storage.conf", "method trash {", " newsgroups: *", " class: 0", "}")
        here.write(
            "readers.conf",
            'auth all { hosts: "*" default: "u" }',
            'access all { users: "*" newsgroups: "*" }',
        )
        config = here.write(
            "inn.conf",
            *("domain: example", "mta: /bin/false", "hismethod: hisv6", "ovmethod: tradindexed"),
            *(
                f"{name}: {run}"
                for name in ("pathrun", "pathlog", "pathdb", "pathspool", "pathtmp", "patharticles")
            ),
            f"pathnews: {here.directory}",
            f"pathetc: {here.directory}",
            f"pathoverview: {run}/overview",
            *(f"{name}: news.example" for name in ("pathhost", "fromhost", "server", "organization")),
            "enableoverview: true",
            # Else it turns readers away while the load of the machine is above 16.
            "nnrpdloadlimit: 0",
            f"runasuser: {user}",
            f"runasgroup: {group}",
            f"tlscertfile: {here.certificate}",
            f"tlskeyfile: {here.key}",
        )
        environment = {"INNCONF": str(config), "LD_LIBRARY_PATH": str(programs)}
        start = as_user("news")
        # It ends in want of a history, which a server for readers can do without, and has made the overview.
        subprocess.run(
            [*start, programs / "makehistory", "-O", "-F", "-b", "-a", "-I"],
            env={**os.environ, **environment},
            check=False,
            capture_output=True,
        )

        def command(ports: Ports) -> Argv:
            at_once = ["-S"] if scheme == "nntps" else []
            set_them = ["env", *(f"{name}={value}" for name, value in environment.items())]
            listen = ["-b", LOOPBACK, "-p", str(ports[scheme]), *at_once]
            return [*set_them, *start, programs / "nnrpd", "-D", "-f", *listen]

        with daemon(here, (scheme,), command) as ports:
            yield ports


@dataclass(frozen=True, slots=True)
class Broker:
    """
    A RabbitMQ that runs.
    """

    port: int
    log_file: Path

    def log(self) -> str:
        """
        What it logged since it was up, from level `debug` on.
        """
        return self.log_file.read_text(encoding="utf-8").partition(_UP)[2]


_UP = "Server startup complete"
"""What RabbitMQ logs then."""


@contextlib.contextmanager
def rabbitmq(chain: Chain, client_ca: Minted | None = None) -> Iterator[Broker]:
    """
    RabbitMQ with TLS only. With a client CA it demands a client certificate.
    """
    start = as_user("rabbitmq")
    with place(chain) as here:
        here.give(here.key, "rabbitmq")
        home, data, logs = (here.make(name, "rabbitmq") for name in ("home", "data", "logs"))
        log_file = logs / "broker.log"
        verify = ["ssl_options.verify = verify_none", "ssl_options.fail_if_no_peer_cert = false"]
        if client_ca is not None:
            trusted = here.write("clients.pem", client_ca.pem.decode())
            verify = ["ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true"]
            verify.append(f"ssl_options.cacertfile = {trusted}")

        def names(ports: Ports) -> Argv:
            # Erlang's name server. If there were none, RabbitMQ would start one that outlives it.
            return [*start, "epmd", "-address", LOOPBACK, "-port", str(ports["epmd"])]

        with daemon(here, ("epmd",), names) as name_server:

            def command(ports: Ports) -> Argv:
                log_file.unlink(missing_ok=True)
                config = here.write(
                    "rabbitmq.conf",
                    "listeners.tcp = none",
                    f"listeners.ssl.1 = {LOOPBACK}:{ports['amqps']}",
                    f"ssl_options.certfile = {here.certificate}",
                    f"ssl_options.keyfile = {here.key}",
                    *verify,
                    f"log.file = {log_file.name}",
                    "log.file.level = debug",
                    # Milliseconds that it waits for a client's first word.
                    "handshake_timeout = 3000",
                )
                environment = {
                    # For Erlang's cookie.
                    "HOME": home,
                    "ERL_EPMD_ADDRESS": LOOPBACK,
                    "ERL_EPMD_PORT": name_server["epmd"],
                    "RABBITMQ_NODENAME": "test@localhost",
                    "RABBITMQ_DIST_PORT": ports["nodes"],
                    "RABBITMQ_MNESIA_BASE": data,
                    "RABBITMQ_LOG_BASE": logs,
                    "RABBITMQ_CONFIG_FILE": config,
                    # Nothing of /etc/rabbitmq.
                    "RABBITMQ_CONFIG_FILES": here.make("more"),
                    "RABBITMQ_ADVANCED_CONFIG_FILE": here.write("advanced.config", "[]."),
                    "RABBITMQ_CONF_ENV_FILE": here.write("environment"),
                    "RABBITMQ_ENABLED_PLUGINS_FILE": here.write("plugins", "[]."),
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
                }
                set_them = ["env", *(f"{name}={value}" for name, value in environment.items())]
                return [*set_them, *start, "/usr/lib/rabbitmq/bin/rabbitmq-server"]

            # Asked of its log: a connection to see whether it listens would be an error there.
            up = daemon(
                here,
                ("amqps", "nodes"),
                command,
                ready=lambda: log_file.exists() and _UP in log_file.read_text(encoding="utf-8"),
                deadline=60.0,
            )
            with up as ports:
                yield Broker(ports["amqps"], log_file)
