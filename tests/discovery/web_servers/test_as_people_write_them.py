"""
Whole configurations as people write them, each found valid by the server itself.
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from exporter.demo.minter import Minted
from exporter.discovery.base import Found
from exporter.discovery.web_servers.source import listed
from tests.discovery.web_servers.looking import files
from tests.formats.samples import revocation_list
from tests.support.processes import free_port

MODULES = "/usr/lib/apache2/modules"


@dataclass(frozen=True, slots=True)
class Written:
    """
    A configuration: DIR stands for its directory, and PORT-1 and so on for free ports.
    """

    check: Sequence[str]
    """The command that says whether it is valid."""
    texts: Mapping[str, str]
    """By the path in the directory. The first one is the main file."""
    wires: str
    """What is looked at on the wire: in each line the URL, the name, and `both` for both types of key."""
    files: str
    """The files that are looked at."""
    notes: Sequence[str] = field(default=())


WRITTEN = {
    "nginx": Written(
        ["nginx", "-t", "-p", "DIR", "-c", "DIR/nginx.conf"],
        {
            "nginx.conf": """\
worker_processes auto;
pid DIR/nginx.pid;
events { worker_connections 768; }
http {
  log_format main '$remote_addr - "$request" { } ; $status';
  access_log DIR/access.log main;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  map $ssl_server_name $site {
    hostnames;
    default         a;
    b.example       b;
    *.wild.example  wild;
    ~^old\\.         a;
  }
  map $ssl_server_name $file { volatile; default DIR/a.pem; "s.example" b.pem; include DIR/more.map; }
  ssl_protocols TLSv1.2 TLSv1.3;
  include DIR/conf.d/*.conf;
  include sites-enabled/*;
}
""",
            "more.map": "m.example DIR/m.pem;\n",
            "conf.d/upstream.conf": "gzip on;\nupstream app { server unix:/run/app.sock; keepalive 8; }\n",
            "snippets/ssl.conf": """\
ssl_certificate DIR/a.pem; # managed by Certbot
ssl_certificate_key DIR/a.pem; # managed by Certbot
""",
            "sites-enabled/default": """\
server {
    listen PORT-1 default_server;
    listen [::]:PORT-1 default_server;
    server_name _;
    if ($host = a.example) { return 301 https://$host$request_uri; } # managed by Certbot
    return 404;
}
server {
    listen PORT-2 ssl http2 default_server;
    listen [::]:PORT-2 ssl http2 default_server ipv6only=on;
    server_name _;
    ssl_reject_handshake on;
}
server {
    server_name a.example www.a.example;
    location ~* \\.(jpg|png)$ { expires 30d; }
    location / { try_files $uri $uri/ =404; add_header X "a; b {"; }
    location = /json { default_type application/json; return 200 '{"a": "b;"}'; }
    listen [::]:PORT-2 ssl http2; listen PORT-2 ssl http2; # managed by Certbot
    include snippets/ssl.conf;
}
""",
            "sites-enabled/others": """\
server { listen PORT-2 ssl; server_name b.example *.wild.example; ssl_certificate $site.pem;
  ssl_certificate_key ${site}.pem; }
server { listen PORT-2 ssl; server_name s.example m.example; ssl_certificate $file;
  ssl_certificate_key $file;
  location /x { proxy_pass https://127.0.0.1:8; proxy_ssl_certificate client.pem;
    proxy_ssl_certificate_key client.pem; proxy_ssl_trusted_certificate a.pem; } }
server { listen PORT-3 ssl; server_name b.example m.example ~^x ""; ssl_certificate DIR/$ssl_server_name;
  ssl_certificate_key DIR/$ssl_server_name; }
server { listen 127.0.0.1:PORT-4 ssl proxy_protocol; listen unix:DIR/socket ssl; server_name pair.example;
  ssl_certificate rsa.pem; ssl_certificate_key rsa.pem;
  ssl_certificate ecdsa.pem; ssl_certificate_key ecdsa.pem; }
server { listen PORT-5 ssl; server_name d.example; ssl_certificate data:$file; ssl_certificate_key data:$file;
  ssl_client_certificate a.pem; ssl_verify_client optional; ssl_crl revoked.pem; }
""",
        },
        """\
https://127.0.0.1:PORT-2 a.example
https://127.0.0.1:PORT-2 www.a.example
https://127.0.0.1:PORT-2 b.example
https://127.0.0.1:PORT-2 s.example
https://127.0.0.1:PORT-2 m.example
https://127.0.0.1:PORT-3 b.example
https://127.0.0.1:PORT-3 m.example
https://127.0.0.1:PORT-4 pair.example both
https://127.0.0.1:PORT-5 d.example
""",
        "a wild b m b.example m.example rsa ecdsa client revoked",
        ["DIR/sites-enabled/others, line 12: ssl_certificate names no file"],
    ),
    "apache": Written(
        ["sh", "-c", ". DIR/envvars; exec apache2 -f DIR/apache2.conf -t"],
        {
            "apache2.conf": f"""\
ServerRoot "DIR"
DefaultRuntimeDir DIR
PidFile ${{APACHE_PID_FILE}}
Mutex file:DIR
ErrorLog /dev/stderr
ServerName localhost
LoadModule mpm_event_module {MODULES}/mod_mpm_event.so
LoadModule authz_core_module {MODULES}/mod_authz_core.so
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
Include ports.conf
IncludeOptional conf-enabled/*.conf
IncludeOptional sites-enabled/*.conf
""",
            "envvars": """\
unset HOME
if [ "${APACHE_CONFDIR##/etc/apache2-}" != "${APACHE_CONFDIR}" ] ; then
	SUFFIX="-${APACHE_CONFDIR##/etc/apache2-}"
else
	SUFFIX=
fi
export APACHE_PID_FILE=DIR/apache2$SUFFIX.pid
export CERTIFICATES="DIR"
""",
            "mods-enabled/ssl.load": "# Depends: mime\n"
            + "".join(
                f"LoadModule {name}_module {MODULES}/mod_{name}.so\n"
                for name in ("ssl", "proxy", "proxy_http", "rewrite", "macro", "headers")
            ),
            "mods-enabled/ssl.conf": "<IfModule mod_ssl.c>\n\tSSLSessionTickets off\n</IfModule>\n",
            "ports.conf": """\
Listen PORT-1
<IfModule ssl_module>
	Listen PORT-2
	Listen [::1]:PORT-3 https
</IfModule>
<IfModule mod_gnutls.c>
	Listen PORT-2
</IfModule>
""",
            "conf-enabled/options.conf": """\
<Macro VHost $name $crt $backend>
<VirtualHost _default_:PORT-2>
  ServerName $name
  ServerAlias www.$name
  Include DIR/options-ssl.inc
  SSLCertificateFile ${CERTIFICATES}/$crt.pem
  SSLProxyEngine on
  ProxyPass / $backend
</VirtualHost>
</Macro>
""",
            "options-ssl.inc": "SSLEngine on\nSSLProtocol all -SSLv3\n",
            "sites-enabled/000-default.conf": """\
<VirtualHost *:PORT-1>
	ServerName a.example
	RewriteEngine on
	RewriteCond %{SERVER_NAME} =a.example
	RewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [END,NE,R=permanent]
</VirtualHost>
""",
            "sites-enabled/a-le-ssl.conf": """\
<IfModule mod_ssl.c>
<VirtualHost *:PORT-2>
	ServerAdmin webmaster@localhost
	ServerName a.example:PORT-2
	ServerAlias www.a.example *.a.example
	<Location "/x">
		Require all granted
	</Location>
	<FilesMatch "\\.(cgi|shtml|phtml|php)$">
		SSLOptions +StdEnvVars
	</FilesMatch>
	Header always set X "a > b"
SSLCertificateFile DIR/a.pem
Include DIR/options-ssl.inc
</VirtualHost>
</IfModule>
Use VHost m.example m https://127.0.0.1:1/
UndefMacro VHost
""",
            "sites-enabled/pair.conf": """\
Define CERTS DIR
<IfDefine CERTS>
<VirtualHost [::1]:PORT-3>
 ServerName Pair.example
 SSLEngine On
 SSLCertificateFile "${CERTS}/rsa.pem"
 SSLCertificateFile ${CERTS}/ecdsa.pem
 SSLCACertificateFile a.pem
 SSLCARevocationFile revoked.pem
 SSLVerifyClient optional
 SSLProxyEngine on
 SSLProxyMachineCertificateFile client.pem
 <Proxy https://127.0.0.1:9/>
  SSLProxyMachineCertificatePath DIR/machine
 </Proxy>
 ProxyPass / https://127.0.0.1:9/
</VirtualHost>
</IfDefine>
""",
        },
        """\
https://127.0.0.1:PORT-2 a.example
https://127.0.0.1:PORT-2 www.a.example
https://127.0.0.1:PORT-2 m.example
https://127.0.0.1:PORT-2 www.m.example
https://[::1]:PORT-3 pair.example both
""",
        "a m rsa ecdsa client machine/one revoked",
    ),
    "haproxy": Written(
        ["haproxy", "-c", "-f", "DIR/haproxy.cfg", "-L", "local"],
        {
            "haproxy.cfg": """\
global
    log stdout format raw local0
    crt-base DIR
    ca-base DIR
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    stats socket DIR/admin.sock mode 660 level admin expose-fd listeners
    setenv PORT PORT-1
defaults unnamed
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
    default-server inter 3s
frontend tls
    bind :::"$PORT" v4v6 ssl crt machine/ alpn h2,http/1.1
    bind 127.0.0.1:PORT-2,[::1]:PORT-2 ssl crt-list DIR/list
    bind ipv4@127.0.0.1:PORT-3 name x ssl crt site.pem accept-proxy
    bind DIR/socket ssl crt a.pem accept-proxy
    bind abns@name ssl crt a.pem
    bind "${NOT_SET-127.0.0.1}:PORT-4" ssl crt rsa.pem crt ecdsa.pem ca-file a.pem verify optional
    bind :PORT-4 ssl crt b.pem crl-file revoked.pem ca-file a.pem verify optional
    http-request redirect scheme https unless { ssl_fc }
    acl x hdr(host) -i "a # b"
    default_backend web
.if defined(EXTRA)
frontend extra
    bind :PORT-5 ssl crt b.pem
    default_backend web
.endif
listen sql
    mode tcp
    bind *:PORT-6 ssl crt m.pem strict-sni
    server one 127.0.0.1:5432 check ssl verify none crt client.pem
    server-template t 2 127.0.0.1:5433 ssl verify none crt DIR/machine/one.pem
backend web
    server one 127.0.0.1:8080 check
peers all
    bind 127.0.0.1:PORT-7 ssl crt m.pem
    default-server ssl verify none
    server local
    server other 127.0.0.2:PORT-7
""",
            "list": """\
# the first one is for all others
DIR/a.pem [alpn h2,http/1.1 ssl-min-ver TLSv1.2] !*

wild.pem *.wild.example !www.wild.example
site.pem [alpn h2] pair.example
""",
            "machine/.hidden": "",
        },
        """\
https://[::1]:PORT-1 one.example
https://127.0.0.1:PORT-2 a.example
https://127.0.0.1:PORT-2 any.wild.example
https://127.0.0.1:PORT-2 pair.example both
https://127.0.0.1:PORT-3 pair.example both
https://127.0.0.1:PORT-4 pair.example both
https://127.0.0.1:PORT-5 b.example
tls://127.0.0.1:PORT-6 m.example
tls://127.0.0.1:PORT-7 m.example
""",
        "machine/one a wild site.pem.rsa site.pem.ecdsa rsa ecdsa revoked client b m",
        [
            "DIR/haproxy.cfg, line 25: .if: conditions are not evaluated, all that they enclose counts",
            *(
                f"DIR/haproxy.cfg, line {line}: bind {one}: what is presented at a socket of this host is "
                "not looked at"
                for line, one in ((18, "DIR/socket"), (19, "abns@name"))
            ),
            "HAProxy, DIR/haproxy.cfg, line 21: at 127.0.0.1:PORT-4 another site is presented instead",
        ],
    ),
    "caddy": Written(
        ["caddy", "adapt", "--config", "DIR/Caddyfile", "--adapter", "caddyfile"],
        {
            "Caddyfile": """\
{
	email admin@example.com
	http_port PORT-1
	https_port PORT-2
	storage file_system DIR/storage
	default_bind 127.0.0.1
	servers {
		protocols h1 h2
	}
}
(common) {
	header X {args.0}
	log {
		output discard
	}
}
(site) {
	{args.0} {
		tls {args.1} {args.2}
		import common "of {args.0}"
	}
}
import site m.example DIR/m.pem DIR/m.pem
a.example, www.a.example:PORT-2 {
	tls DIR/a.pem DIR/a.pem {
		protocols tls1.2
	}
	respond `{ "a": 1 }`
}
*.wild.example {
	tls {
		load DIR/machine
	}
	@b host b.wild.example
	handle @b {
		reverse_proxy https://127.0.0.1:9 {
			transport http {
				tls_client_auth DIR/client.pem DIR/client.pem
			}
		}
	}
}
a.example:PORT-1 {
	redir https://a.example{uri}
}
http://plain.example {
	respond no
}
{$UNSET:b.example} {
	bind [::1]
	tls internal
	import sites/*
}
""",
            "sites/one": "respond /one ok\n",
            "storage/certificates/local/b.example/b.example.crt": "",
        },
        """\
https://127.0.0.1:PORT-2 m.example
https://127.0.0.1:PORT-2 a.example
https://127.0.0.1:PORT-2 www.a.example
https://[::1]:PORT-2 b.example
""",
        "m a client machine/one storage/certificates/local/b.example/b.example.crt",
        [
            (
                "Caddy, DIR/Caddyfile, line 30: *.wild.example is a wildcard, and its certificate has no "
                "name that fits it, so what it presents is not looked at: the source `listening` does"
            )
        ],
    ),
    "dovecot": Written(
        ["doveconf", "-c", "DIR/dovecot.conf", "-n"],
        {
            "dovecot.conf": """\
!include_try DIR/protocols.d/*.protocol
listen = 127.0.0.1, ::1
dict {
  #quota = mysql:/etc/dovecot/dovecot-dict-sql.conf.ext
}
!include conf.d/*.conf
!include_try local.conf
""",
            "protocols.d/imapd.protocol": "protocols = $protocols imap\n",
            "protocols.d/lmtpd.protocol": "protocols = $protocols lmtp\n",
            "conf.d/10-ssl.conf": """\
ssl = required
ssl_cert = <DIR/rsa.pem
ssl_key = <DIR/rsa.pem
ssl_alt_cert = <DIR/ecdsa.pem
ssl_alt_key = <DIR/ecdsa.pem
ssl_client_cert = <DIR/client.pem
ssl_client_key = <DIR/client.pem
#ssl_ca = </etc/ssl/ca.pem
local_name a.example {
  ssl_cert = <DIR/a.pem
  ssl_key = <DIR/a.pem
}
local_name "b.example mail.b.example" {
  ssl_cert = "<DIR/b.pem"
  ssl_key = <DIR/b.pem
}
local 192.0.2.7 {
  protocol imap {
    ssl_cert = <DIR/m.pem
    ssl_key = <DIR/m.pem
  }
}
""",
            "conf.d/10-master.conf": """\
service imap-login {
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    #port = 993
  }
}
service lmtp {
  unix_listener DIR/lmtp {
    mode = 0600
  }
}
service doveadm {
  inet_listener {
    port = PORT-1
    ssl = yes
  }
}
service stats {
  inet_listener http {
    port = PORT-2
  }
}
""",
        },
        """\
imaps://127.0.0.1:993 pair.example both
tls://127.0.0.1:PORT-1 pair.example both
imaps://127.0.0.1:993 a.example
imaps://127.0.0.1:993 b.example
imaps://127.0.0.1:993 mail.b.example
imaps://192.0.2.7:993 m.example
""",
        "rsa ecdsa a b m client",
    ),
    "postfix": Written(
        ["sh", "-c", "postconf -c DIR -n && postconf -c DIR -M"],
        {
            "main.cf": """\
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
compatibility_level = 3.6
myhostname = pair.example
certs = DIR
smtpd_tls_cert_file=${certs}/$kind.pem
smtpd_tls_key_file=$smtpd_tls_cert_file
kind = rsa
smtpd_tls_eccert_file = ${certs}/ecdsa.pem
smtpd_tls_eckey_file = ${certs}/ecdsa.pem
smtpd_tls_security_level=may
smtp_tls_CApath=/etc/ssl/certs
tls_server_sni_maps = ${default_database_type}:DIR/sni,
  inline:{ {m.example=DIR/m.key, DIR/m.pem} }
inet_interfaces = 127.0.0.1, [::1]
""",
            "sni": "# name, key and chain\nb.example  DIR/b.key DIR/b.pem\n.wild.example DIR/wild.pem\n",
            "master.cf": """\
smtp      inet  n       -       y       -       -       smtpd
#smtp     inet  n       -       y       -       1       postscreen
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o { smtpd_recipient_restrictions = permit_sasl_authenticated, reject }
  -o smtpd_tls_chain_files=DIR/a.key,DIR/a.pem -o tls_server_sni_maps=
[::1]:PORT-1 inet n - y - - smtpd
  -o smtpd_tls_wrappermode=yes -o tls_server_sni_maps=
  -o smtpd_tls_cert_file=DIR/b.pem -o smtpd_tls_key_file=DIR/b.pem -o smtpd_tls_eccert_file=
127.0.0.1:10025 inet n - n - - smtpd -o smtpd_tls_security_level=none
smtp      unix  -       -       y       -       -       smtp
relay     unix  -       -       y       -       -       smtp
  -o smtp_tls_cert_file=DIR/client.pem -o smtp_tls_key_file=DIR/client.pem
""",
        },
        """\
smtp://127.0.0.1:25 pair.example both
smtp://127.0.0.1:25 b.example
smtp://127.0.0.1:25 www.wild.example
smtp://127.0.0.1:25 m.example
submission://127.0.0.1:587 a.example
smtps://[::1]:PORT-1 b.example
""",
        "rsa ecdsa b wild m a client",
    ),
}


def fill(text: str, directory: Path, ports: Sequence[int]) -> str:
    """
    Put the directory and the ports into a text.
    """
    for number, port in enumerate(ports, 1):
        text = text.replace(f"PORT-{number}", str(port))
    return re.sub(r"\bDIR\b", str(directory), text)


def write(directory: Path, ca: Minted, written: Written, ports: Sequence[int]) -> None:
    """
    Write a configuration, and the certificates that all of them may name.
    """
    names = {name: [f"{name}.example"] for name in ("a", "b", "m", "client")}
    names |= {"wild": ["*.wild.example"], "machine/one": ["one.example"]}
    made = {name: ca.issue(name, some, key="rsa-2048") for name, some in names.items()}
    for kind, key in (("rsa", "rsa-2048"), ("ecdsa", "ecdsa-256")):
        made[kind] = ca.issue("pair", ["pair.example"], key=key)
    contents = {f"{name}.pem": one.chain_pem + one.key_pem for name, one in made.items()}
    contents |= {f"{name}.example": contents[f"{name}.pem"] for name in ("b", "m")}
    contents |= {f"site.pem.{kind}": contents[f"{kind}.pem"] for kind in ("rsa", "ecdsa")}
    revoked = x509.load_der_x509_crl(revocation_list())
    contents["revoked.pem"] = revoked.public_bytes(serialization.Encoding.PEM)
    for path, text in written.texts.items():
        contents[path] = fill(text, directory, ports).encode()
    for path, content in contents.items():
        (directory / path).parent.mkdir(exist_ok=True, parents=True)
        (directory / path).write_bytes(content)


def lines(found: Sequence[Found]) -> list[str]:
    """
    What is looked at on the wire, as `Written.wires` has it.
    """
    return [
        " ".join(filter(None, (one.url, one.settings["server_name"], one.settings.get("keys"))))
        for one in found
        if not one.url.startswith("file:")
    ]


@pytest.mark.parametrize("server", WRITTEN)
def test_what_people_write(tmp_path: Path, ca: Minted, server: str) -> None:
    """
    What is presented is looked at by its name, each certificate is a file, and what is passed over is told.
    """
    written, ports = WRITTEN[server], [free_port() for _ in range(7)]
    write(tmp_path, ca, written, ports)
    command = [fill(word, tmp_path, ports) for word in written.check]
    checked = subprocess.run(
        command,
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert checked.returncode == 0, checked.stderr
    listing = listed([str(tmp_path / next(iter(written.texts)))])
    assert lines(listing.found) == fill(written.wires, tmp_path, ports).splitlines()
    paths = [one.removeprefix(f"{tmp_path}/").removesuffix(".pem") for one in files(listing.found)]
    assert sorted(paths) == sorted(written.files.split())
    assert list(listing.notes) == [fill(one, tmp_path, ports) for one in written.notes]


def test_the_json_that_caddy_makes_of_a_file_is_understood_alike(tmp_path: Path, ca: Minted) -> None:
    """
    As in `caddy.json`, or in the `autosave.json` of a running Caddy.
    """
    written, ports = WRITTEN["caddy"], [free_port() for _ in range(7)]
    write(tmp_path, ca, written, ports)
    command = [fill(word, tmp_path, ports) for word in written.check]
    made = subprocess.run(command, capture_output=True, check=True, env=os.environ | {"HOME": str(tmp_path)})
    (tmp_path / "caddy").mkdir()
    (tmp_path / "caddy/autosave.json").write_bytes(made.stdout)
    listing = listed([str(tmp_path / "caddy/autosave.json")])
    assert sorted(lines(listing.found)) == sorted(fill(written.wires, tmp_path, ports).splitlines())
    paths = [one.removeprefix(f"{tmp_path}/").removesuffix(".pem") for one in files(listing.found)]
    assert sorted(paths) == sorted(written.files.split())
    assert len(listing.notes) == len(written.notes)
