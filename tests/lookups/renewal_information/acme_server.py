"""
acme2certifier as a server on loopback, and an order from it: both in the environment that it is installed in.

    python acme_server.py serve PORT              serves, by the configuration that ACME_SRV_CONFIGFILE names
    python acme_server.py order DIRECTORY NAME    prints the key and the chain of a certificate for NAME, PEM

It needs older libraries than this project, so `tests/run` gives it an environment of its own.
"""

import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Quiet(WSGIRequestHandler):
    """
    Logs no requests.
    """

    def log_message(self, *_: object) -> None:
        """
        Nothing.
        """


def serve(port: int) -> None:
    """
    Serve until the end of the process.
    """
    # Its module reads the configuration when it is imported.
    from acme2certifier.share.acme2certifier_wsgi import application  # type: ignore[import-not-found] # there only

    with make_server("127.0.0.1", port, application, WSGIServer, Quiet) as server:
        server.serve_forever()


def order(directory: str, name: str) -> None:
    """
    Print the private key and the chain of a new certificate.
    """
    import josepy  # type: ignore[import-not-found] # there only
    from acme import (  # type: ignore[import-not-found] # there only
        challenges,
        client,
        crypto_util,
        messages,
    )
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    account = josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))
    network = client.ClientNetwork(account)
    acme = client.ClientV2(client.ClientV2.get_directory(directory, network), network)
    registration = messages.NewRegistration.from_data(email="a@example.com", terms_of_service_agreed=True)
    acme.new_account(registration)
    key = rsa.generate_private_key(65537, 2048)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ordered = acme.new_order(crypto_util.make_csr(key_pem, [name]))
    for authorization in ordered.authorizations:
        for body in authorization.body.challenges:
            if isinstance(body.chall, challenges.HTTP01):
                acme.answer_challenge(body, body.response(account))
    print(key_pem.decode() + acme.poll_and_finalize(ordered).fullchain_pem)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        order(sys.argv[2], sys.argv[3])
