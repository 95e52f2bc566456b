"""The guard of every test holds: who calls out is stopped."""

import socket
import urllib.request

import pytest


def test_a_connection_is_refused():
    with socket.socket() as client, pytest.raises(AssertionError, match="out of bounds"):
        client.connect(("127.0.0.1", 9))


def test_a_look_up_is_refused():
    with pytest.raises(AssertionError, match="out of bounds"):
        urllib.request.urlopen("http://example.invalid")
