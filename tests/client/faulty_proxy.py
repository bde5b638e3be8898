"""A proxy before a real service that does to each request what the test asks for: delays, cuts, errors, rubbish."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["pass", "hang", "drip", "cut", "close", "rubbish", "tag"] | int  # a number: that status

UNAVAILABLE = b'{"type":"about:blank","title":"","status":503,"detail":"There is no run to answer from."}'
PAGE = b"<html>Sign in to the guest network</html>"


@dataclass
class FaultyProxy:
    """Listens until `close`.

    Attributes:
        faults: for the next requests, one each; `always` for those after them.
        requests: the heads of those that came.
        connections: that were made.
    """

    upstream: str
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault = "pass"
    headers: str = ""
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    cut_short: int = 0

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        address = urlsplit(self.upstream)
        try:
            with client, socket.create_connection((address.hostname, address.port)) as service:
                while message := _message(client):
                    self.requests.append(message.partition(b"\r\n\r\n")[0].decode("latin-1"))
                    fault = self.faults.popleft() if self.faults else self.always
                    if fault == "close":
                        return
                    if fault == "hang":
                        self._closing.wait(60)
                        return
                    if isinstance(fault, int):
                        client.sendall(_response(fault, UNAVAILABLE, self.headers))
                        continue
                    if fault == "rubbish":
                        client.sendall(_response(200, PAGE))
                        continue
                    service.sendall(message)
                    self._answer(client, _message(service), fault)
        except OSError:
            self.cut_short += 1  # who asked has gone

    def _answer(self, client: socket.socket, answer: bytes, fault: Fault) -> None:
        if fault == "cut":
            client.sendall(answer[: len(answer) // 2])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            client.close()
        elif fault == "drip":
            for at in range(len(answer)):
                client.sendall(answer[at : at + 1])
                time.sleep(0.02)
        elif fault == "tag":
            head, _, body = answer.partition(b"\r\n\r\n")
            tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
            if f"if-none-match: {tag}" in self.requests[-1].lower():
                client.sendall(f"HTTP/1.1 304 Not Modified\r\netag: {tag}\r\n\r\n".encode())
            else:
                client.sendall(head + f"\r\netag: {tag}".encode() + b"\r\n\r\n" + body)
        else:
            client.sendall(answer)


def _message(peer: socket.socket) -> bytes:
    """A whole request or answer; nothing where the peer has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = peer.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    missing = int(fields.get(b"content-length", b"0")) - len(body)
    while missing > 0:
        more = peer.recv(65536)
        data, missing = data + more, missing - len(more)
    return data


def _response(status: int, body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode("latin-1") + body
