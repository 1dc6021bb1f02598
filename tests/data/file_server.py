"""A web server of one file that misbehaves in the ways servers do; its fields say how.

Usage::

    with Server(b"content") as server:
        server.cuts = [3]        # then serve_forever in a thread
"""

from __future__ import annotations

import socket
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Serves `body`; the fields say how badly. `ranges` collects the Range header of every request."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = body
        self.status: int | None = None
        self.ignores_range = False
        self.wrong_range = False
        self.says_length = True
        self.chunked = False
        self.cuts: list[int] = []  # bytes sent before the connection ends, for each request in turn
        self.resets = False
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.tar.gz"

    def shutdown_request(self, request: Any) -> None:
        if self.resets:  # without the orderly end; the pause lets the client read what was sent
            time.sleep(0.1)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address  # a client that went away is part of the tests


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers["Range"]
        server.ranges.append(asked)
        if server.status:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and not server.ignores_range else 0
        if start and start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            first = 0 if server.wrong_range else start
            self.send_header("Content-Range", f"bytes {first}-{len(server.body) - 1}/{len(server.body)}")
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif server.says_length:
            self.send_header("Content-Length", str(len(server.body) - start))
        self.end_headers()
        self.send_body(server.body[start:])

    def send_body(self, rest: bytes) -> None:
        self.close_connection = True
        if self.server.chunked:
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))
            return
        n = self.server.cuts.pop(0) if self.server.cuts else len(rest)
        self.wfile.write(rest[:n])
        if n < len(rest) and self.server.resets:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, format: str, *args: Any) -> None:
        del format, args
