"""Ports that leadline opens: nobody gets a word in without the certificate of this run."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, suppress
from urllib.parse import urlsplit

import distributed
import psutil
import pytest
from distributed.security import Security

from leadline.tasks.compute.cluster import open_cluster
from leadline.tasks.compute.profile import LocalCluster, Profile

PATIENCE = 20.0


def listening() -> set[tuple[str, int]]:
    """Return the addresses at which this process and its children listen."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {
        (each.laddr.ip, each.laddr.port)
        for process in processes
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }


def refuses(address: str, port: int, *, tls: bool) -> bool:
    """Say whether a port closes on a stranger without having said anything to it."""
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with closing(socket.create_connection((address, port), timeout=PATIENCE)) as plain:
        try:
            with stranger.wrap_socket(plain) if tls else plain as line:
                line.sendall(b"\x00" * 64)
                return line.recv(1) == b""
        except (ssl.SSLError, ConnectionError):
            return True


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_port_of_a_cluster_that_we_open_is_on_loopback_and_refuses_strangers() -> None:
    before = listening()
    profile = Profile(name="here", cluster=LocalCluster(workers=1))
    with open_cluster(profile) as cluster:
        opened = listening() - before
        assert cluster.dashboard is not None
        pages = urlsplit(cluster.dashboard)
        assert (pages.hostname, pages.scheme) == ("127.0.0.1", "http")  # shows, and obeys nobody
        scheduler = str(cluster.client.scheduler_info()["address"])
        ours = {scheduler, *cluster.client.nthreads()}
        assert {address for address, _ in opened} == {"127.0.0.1"}
        obeying = opened - _answering_http(opened)
        assert {f"tls://{address}:{port}" for address, port in obeying} == ours
        for address, port in obeying:
            assert refuses(address, port, tls=False)
            assert refuses(address, port, tls=True)
        for other, security in (
            (scheduler.replace("tls://", "tcp://"), None),
            (scheduler, Security.temporary()),
        ):
            with pytest.raises(OSError, match=r"(?i)timed out|connect|ssl|certificate"):
                distributed.Client(other, security=security, timeout=3, set_as_default=False)
        assert cluster.client.submit(sum, [1, 2], pure=False).result(timeout=60) == 3


def _answering_http(addresses: set[tuple[str, int]]) -> set[tuple[str, int]]:
    return {(address, port) for address, port in addresses if _answers_http(address, port)}


def _answers_http(address: str, port: int) -> bool:
    with (
        suppress(OSError),
        closing(socket.create_connection((address, port), timeout=PATIENCE)) as plain,
    ):
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return plain.recv(5) == b"HTTP/"
    return False
