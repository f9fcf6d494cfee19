"""Where a bidder's data come out, in the lab: a server at the far end of a deal's circuit, which hands out as many octets as its dataset stands for.

A dataset is named, and has a size; what is in it does not matter here. Of each gigabyte one mebibyte is served, so that a transfer is real without taking
an hour. Every octet that leaves is counted, in `state`, and so it can be compared with what the job says that it has read.

HTTP/1.1 (RFC 9110), GET only. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 8480
OCTETS_PER_GIGABYTE = 2**20
PULSE_SECONDS = 0.5
BLOCK = bytes(65536)


class Shelf:
    """Datasets by name, and how much of each has left."""

    def __init__(self, gigabytes: Mapping[str, int]) -> None:
        self.octets = {name: size * OCTETS_PER_GIGABYTE for name, size in gigabytes.items()}
        self.sent = Counter[str]()
        self.lock = threading.Lock()

    def tell(self) -> None:
        with self.lock:
            said = {"sent": dict(self.sent), "at": time.time()}
        fresh = Path("state.new")
        fresh.write_text(json.dumps(said))
        fresh.replace("state")


def handler(shelf: Shelf) -> type[BaseHTTPRequestHandler]:
    """What answers requests for `shelf`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            if (left := shelf.octets.get(name)) is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(left))
            self.end_headers()
            while left:
                piece = BLOCK[: min(left, len(BLOCK))]
                self.wfile.write(piece)
                left -= len(piece)
                with shelf.lock:
                    shelf.sent[name] += len(piece)

        def log_message(self, format: str, *words: Any) -> None:
            print(format % words, flush=True)

    return Handler


def main(settings: Mapping[str, Any]) -> None:
    """Serve, for ever."""
    shelf = Shelf(settings["gigabytes"])
    server = ThreadingHTTPServer(("", PORT), handler(shelf))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        shelf.tell()
        time.sleep(PULSE_SECONDS)


if __name__ == "__main__":
    os.umask(0o077)
    main(json.loads(Path(sys.argv[1]).read_text()))
