"""A stand-in for IRRd, which needs a PostgreSQL and a Redis beside it: the query protocol over a real socket, answered from RPSL texts.

It says what IRRd 4.5.4 was seen to say; and bgpq4, a client that others wrote against the real one, is content with it (test_registries.py). Named faults
make it cut, lie and fall silent, as servers on the Internet do.
"""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from nnix.planes.routing.irr import Registries, Source, read_rpsl, together

source = lru_cache(maxsize=16)(read_rpsl)


@dataclass
class Speaker:
    """`databases`: name → RPSL text. `fault` is one of FAULTS, or empty."""

    databases: dict[str, str]
    fault: str = ""
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    def sources(self, chosen: tuple[str, ...]) -> list[Source]:
        return [source(name, self.databases[name]) for name in chosen]

    def answer(self, question: str, chosen: tuple[str, ...]) -> bytes:
        """To one line without its `!`."""
        sources = self.sources(chosen)
        if question[:1] == "i":
            name, _, recursive = question[1:].partition(",")
            found = next((each for source in sources for each in source.sets.values() if each.name == name.upper()), None)
            if found is None:
                return b"D\n"
            if recursive:
                return said(" ".join(f"AS{each}" for each in sorted(Registries(sources).cone(0, [name]).origins - {0})))
            numbers = {*found.asns, *Registries(sources).referring(found)}  # as IRRd 4.5.4 does, members by reference as well
            return said(" ".join([*(f"AS{each}" for each in sorted(numbers)), *found.sets]))
        if question.startswith("mas-set,"):
            name = question.removeprefix("mas-set,").upper()
            found = next((each for source in sources for each in source.sets.values() if each.name == name), None)
            return b"D\n" if found is None else said(f"as-set:         {found.name}\nsource:         {found.registry}\n")
        if question.startswith("maut-num,"):
            asn = int(question.removeprefix("maut-num,").upper().removeprefix("AS"))
            lines = next((each.vias[asn] for each in sources if asn in each.vias), ())
            text = "".join(f"{each.replace(' ', ': ', 1)}\n" for each in (f"aut-num AS{asn}", *lines))
            return said(text) if lines else b"D\n"
        if question[:1] in ("g", "6"):
            merged = together(sources)
            routes = merged.routes.get(int(question[1:].upper().removeprefix("AS")), ())
            wanted = [each for each in routes if (":" in each) == (question[0] == "6")]
            return said(" ".join(wanted)) if wanted else b"D\n"
        return b"F unrecognized command\n"


def said(text: str) -> bytes:
    content = f"{text}\n".encode()
    return b"A%d\n%sC\n" % (len(content), content) if text else b"C\n"


FAULTS: Mapping[str, str] = {
    "cut": "the connection is closed in the middle of an answer",
    "silent": "a question is never answered",
    "length": "an answer is longer than it says",
    "huge": "an answer would be longer than anybody can hold",
    "no protocol": "something else listens there",
    "endless line": "a line never ends",
    "error": "the server says that it cannot",
}


@contextmanager
def speaking(databases: Mapping[str, str]) -> Iterator[Speaker]:
    """A speaker on a free port of the loopback."""
    speaker = Speaker(dict(databases))

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            chosen = tuple(speaker.databases)
            for line in self.rfile:
                question = line.decode().strip().removeprefix("!")
                speaker.asked.append(question)
                if question == "!":
                    continue
                if question == "q":
                    return
                if question[:1] in ("n", "t", "v"):
                    self.wfile.write(b"C\n" if question[:1] != "v" else said("stand-in"))
                    continue
                if question == "s-lc":
                    self.wfile.write(said(",".join(chosen)))
                    continue
                if question[:1] == "s":
                    names = tuple(question[1:].upper().split(","))
                    known = all(each in speaker.databases for each in names)
                    chosen = names if known else chosen
                    self.wfile.write(b"C\n" if known else b"F One or more selected sources are unavailable.\n")
                    continue
                answer = speaker.answer(question, chosen)
                if speaker.fault:
                    self.spoil(answer)
                    return
                self.wfile.write(answer)

        def spoil(self, answer: bytes) -> None:
            match speaker.fault:
                case "cut":
                    self.wfile.write(b"A400\nAS64500 AS6")
                case "silent":
                    time.sleep(3)
                case "length":
                    self.wfile.write(b"A3\nAS64500 AS64501\nC\n")
                case "huge":
                    self.wfile.write(b"A99999999999\n")
                case "no protocol":
                    self.wfile.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                case "endless line":
                    self.wfile.write(b"A" + b"4" * 100_000)
                case "error":
                    self.wfile.write(b"F Internal error, please try again later\n")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Conversation) as server:
        speaker.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield speaker
        finally:
            server.shutdown()
            thread.join()
