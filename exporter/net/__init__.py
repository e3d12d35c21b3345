"""
The network: connections, names, downloads, DNS, and rationed look-ups in the background.
"""

import dns._features

# Name servers are asked over UDP and TCP only. Where the libraries for DNS over QUIC and HTTPS are installed,
# dnspython would import them with itself, which takes longer than all the rest of it.
for _feature in ("doq", "doh"):
    dns._features.force(_feature, enabled=False)  # noqa: SLF001 - there is no public way
