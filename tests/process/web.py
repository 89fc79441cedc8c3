"""A real `tandem web` beside a server that runs."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from process.server import CONFIGURATION, WITHIN_S, until
from tandem.admin.web.access import Role, Tokens


class Answer(NamedTuple):
    """What came back."""

    code: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Web:
    """A `tandem web` process by a file with a `[web]`; logs and tokens are in `folder`. Use it as a context manager."""

    def __init__(self, file: Path, folder: Path, *words: str, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self._command = [sys.executable, "-m", "tandem", "web", str(file), *words]
        self._log = folder / "web.log"
        self.port = int(file.read_text().partition("[web]")[2].partition("]:")[2].partition('"')[0])
        tokens = Tokens(folder / "tokens")
        self.token = tokens.new("me", Role.OPERATOR)
        self.operator = {"Authorization": f"Bearer {self.token}"}
        self.reader = {"Authorization": f"Bearer {tokens.new('grafana', Role.READ_ONLY)}"}

    def __enter__(self) -> Web:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._answers, "the web process answers")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(WITHIN_S)

    @property
    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    def connection(self) -> http.client.HTTPConnection:
        if self.tls is not None:
            return http.client.HTTPSConnection("::1", self.port, timeout=WITHIN_S, context=self.tls)
        return http.client.HTTPConnection("::1", self.port, timeout=WITHIN_S)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None) -> Answer:
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path, self.reader)
        assert answer.code == 200, answer.text
        return answer.json

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.ask("GET", "/").code == 200
        except OSError:
            return False


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return int(probe.getsockname()[1])


def web_table(folder: Path) -> str:
    """Give the part of a file that says where the web process is."""
    return f'[web]\nlisten = "[::1]:{free_port()}"\ntokens = "{folder}/tokens"\n'


def with_web(folder: Path) -> str:
    """Give the file of a server that has a web process, to be filled in by `Server`."""
    return CONFIGURATION + web_table(folder).replace("{", "{{").replace("}", "}}")
