"""A server that does wrong, in front of a real S3 server: what it does, and to which request, is for a test to say.

It also does what S3 does and the tests' server (moto) does not: it can refuse a body that is not the one whose checksum
came with it, and says of an upload that has ended that there is none.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

ALWAYS = 10**9
OPERATIONS: Mapping[str, tuple[str, str]] = {  # method and target, as S3 has them; the first that fits is meant
    "put a part": ("PUT", r"partNumber="),
    "end an upload": ("POST", r"uploadId="),
    "abort an upload": ("DELETE", r"uploadId="),
    "begin an upload": ("POST", r"[?&]uploads"),
    "write the manifest": ("PUT", r"/manifest\.json"),
    "move the pointer": ("PUT", r"/current\.json"),
    "take a lease": ("PUT", r"/leases/"),
    "put a file": ("PUT", r"/runs/"),
    "read the pointer": ("GET", r"/current\.json"),
    "read the manifest": ("GET", r"/manifest\.json"),
    "look at a file": ("HEAD", r"/runs/"),
    "list": ("GET", r"list-type=2"),
    "list uploads": ("GET", r"[?&]uploads"),
    "list parts": ("GET", r"uploadId="),
    "fetch a file": ("GET", r"/runs/"),
    "delete": ("DELETE", r""),
}


@dataclass
class Call:
    """A request on its way, and what can be done with it."""

    handler: BaseHTTPRequestHandler
    upstream: str
    method: str
    target: str
    body: bytes
    operation: str

    def forward(self, body: bytes | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the real server answers; to another body, if one is given."""
        sent = self.body if body is None else body
        headers = {name: value for name, value in self.handler.headers.items() if name.lower() != "content-length"}
        if self.method in ("PUT", "POST"):
            headers["Content-Length"] = str(len(sent))
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            connection.request(self.method, self.target, sent, headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
            if status == 500 and "uploadId=" in self.target:  # moto falls over an upload that has ended
                status, content = 404, b"<Error><Code>NoSuchUpload</Code></Error>"
            return status, answer.getheaders(), content
        finally:
            connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: int | None = None) -> None:
        """Send an answer, whose stated length may be another than its own."""
        self.head(status, headers, len(body) if length is None else length)
        if self.method != "HEAD":
            self.handler.wfile.write(body)

    def head(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.handler.send_response(status)
        own = {"content-length", "transfer-encoding", "connection", "date", "server"}
        sizes = {name.lower(): value for name, value in headers}
        for name, value in headers:
            if name.lower() not in own:
                self.handler.send_header(name, value)
        self.handler.send_header(
            "Content-Length", sizes.get("content-length", "0") if self.method == "HEAD" else str(length)
        )
        self.handler.end_headers()

    def error(self, status: int, code: str) -> None:
        self.answer(status, [("Content-Type", "application/xml")], f"<Error><Code>{code}</Code></Error>".encode())

    def cut(self) -> None:
        """Close the connection as it is."""
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


Fault = Callable[[Call], None]


@dataclass
class FaultyServer:
    """The address to use, and the rule that is in force: which operation has which fault, and how many times."""

    upstream: str
    endpoint: str = ""
    operation: str = ""
    fault: Fault | None = None
    times: int = 0
    calls: list[str] = field(default_factory=list)  # operations, as they came
    trickled: int = 0  # answers that began to trickle
    armed_anew: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, operation: str, fault: Fault | None, times: int = ALWAYS) -> None:
        self.armed_anew.set()
        self.armed_anew = threading.Event()
        self.operation, self.fault, self.times = operation, fault, times
        self.calls.clear()

    def handle(self, call: Call) -> None:
        with self.lock:
            self.calls.append(call.operation)
            faulty = self.fault and call.operation == self.operation and self.times > 0
            self.times -= bool(faulty)
        if faulty and self.fault:
            self.fault(call)
        else:
            call.answer(*call.forward())


def operation_of(method: str, target: str) -> str:
    fitting = (name for name, (verb, pattern) in OPERATIONS.items() if verb == method and re.search(pattern, target))
    return next(fitting, "other")


def serve(upstream: str) -> Iterator[FaultyServer]:
    """A faulty server in front of the one at `upstream`, `http://host:port`, for as long as it is not closed."""
    server = FaultyServer(urlparse(upstream).netloc)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def work(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = operation_of(self.command, self.path)
            try:
                server.handle(Call(self, server.upstream, self.command, self.path, body, operation))
            except OSError:
                self.close_connection = True  # whoever asked has gone

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = work

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    server.endpoint = f"http://127.0.0.1:{listening.server_port}"
    yield server
    listening.shutdown()
    listening.server_close()


def says(status: int, code: str) -> Fault:
    """An error of S3's, and nothing done."""
    return lambda call: call.error(status, code)


def cut_before(call: Call) -> None:
    call.cut()


def cut_after(call: Call) -> None:
    """It is done, and nobody hears of it."""
    call.forward()
    call.cut()


def cut_inside(call: Call) -> None:
    """Half of the answer comes; of one without a body, half of its first line."""
    status, headers, body = call.forward()
    if body and call.method != "HEAD":
        call.answer(status, headers, body[: len(body) // 2], len(body))
    else:
        call.handler.wfile.write(b"HTTP/1.1 2")
    call.cut()


def trickle(server: FaultyServer) -> Fault:
    """It is done, and the answer comes a byte at a time, until the server is armed anew."""

    def fault(call: Call) -> None:
        call.forward()
        call.handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        server.trickled += 1
        armed_anew = server.armed_anew
        while not armed_anew.wait(0.05):
            call.handler.wfile.write(b".")
        call.cut()

    return fault


def cut_short(call: Call) -> None:
    """Half of what was sent arrives, and a server that checks refuses it."""
    half = call.body[: len(call.body) // 2]
    if _fits(call, half):
        call.answer(*call.forward(half))
    else:
        call.error(400, "BadDigest")


def kept_short(call: Call) -> None:
    """Half of what was sent arrives, and is kept: of a server that checks nothing."""
    call.answer(*call.forward(call.body[: len(call.body) // 2]))


def given_short(call: Call) -> None:
    """What lies in the store is half of the object, and says so of itself."""
    status, headers, body = call.forward()
    call.answer(status, headers, body[: len(body) // 2])


def behind(call: Call) -> None:
    """A listing without what was written last, whatever that is."""
    status, headers, body = call.forward()
    items = re.findall(rb"<Contents>.*?</Contents>", body, re.DOTALL)
    times = sorted({time for item in items for time in re.findall(rb"<LastModified>(.*?)<", item)})
    for item in items:
        if times[-1] in item:
            body = body.replace(item, b"")
    call.answer(status, headers, body)


def expired(*keys: str) -> Fault:
    """These keys have expired. All others have not."""

    def fault(call: Call) -> None:
        named = re.search(r"Credential=([^/]+)/", call.handler.headers.get("Authorization", ""))
        if named and named.group(1) in keys:
            call.error(400, "ExpiredToken")
        else:
            call.answer(*call.forward())

    return fault


def kill_before(pid: Callable[[], int]) -> Fault:
    def fault(call: Call) -> None:
        os.kill(pid(), signal.SIGKILL)
        call.cut()

    return fault


def kill_after(pid: Callable[[], int]) -> Fault:
    def fault(call: Call) -> None:
        call.forward()
        os.kill(pid(), signal.SIGKILL)
        call.cut()

    return fault


def _fits(call: Call, body: bytes) -> bool:
    """Whether a body is the one whose checksum came with the request."""
    told = call.handler.headers.get("x-amz-checksum-sha256")
    return told is None or told == base64.b64encode(hashlib.sha256(body).digest()).decode()


def page(rows: Mapping[str, Mapping[str, Any]], columns: list[str], corner: str) -> str:
    """A table of outcomes, as a page has it."""
    lines = [[corner, *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(str(row.get(column, "")) for column in columns)] for name, row in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
