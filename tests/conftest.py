"""What holds for every test: shapes and types are checked at run time, and nothing can reach the network."""

import socket

import pytest
from jaxtyping import install_import_hook

install_import_hook("intaglio", "beartype.beartype")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """A connection to anywhere, this machine included, or a look-up of a name, fails the test."""

    def refused(*args, **kwargs):
        raise AssertionError(f"the network is out of bounds: {args[1:] or args}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket.socket, "connect_ex", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
