"""The API does what its own description says, asked by a program that knows nothing but that description."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from limits import limit
from process.server import Server, get_leases
from process.web import Web, with_web
from tandem.admin.web.operations import OPERATIONS

pytestmark = pytest.mark.thorough

NOT_SAID = "positive_data_acceptance"
"""That a text is an address, or that one of two is to be given, is said in words only."""


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, with_web(tmp_path)) as server, Web(server.file, server.folder) as web:
        get_leases(server, 1, 2, 3)
        program = str(Path(sys.executable).with_name("st"))
        token = f"Authorization: {web.operator['Authorization']}"
        words = (
            "--checks",
            "all",
            "--exclude-checks",
            NOT_SAID,
            "--max-examples",
            "20",
            "--seed",
            "9915",
            "--no-color",
        )
        address = f"http://[::1]:{web.port}/openapi.json"
        command = [program, "run", address, "-H", token, "--phases", "examples,coverage,fuzzing", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit(120), check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{len(OPERATIONS)} selected / {len(OPERATIONS)} total" in done.stdout
        assert server.ask("status")
        assert not [line for line in web.log if "Traceback" in line]


WITHOUT_CREDENTIALS = """\
[checks]
positive_data_acceptance.expected-statuses = [401, 403]
negative_data_rejection.expected-statuses = [401, 403]
"""


def test_without_credentials_everything_asked_by_the_description_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path, with_web(tmp_path)) as server, Web(server.file, server.folder) as web:
        get_leases(server, 1)
        before = server.leases()
        description = tmp_path / "openapi.json"
        description.write_text(web.ask("GET", "/openapi.json", web.reader).text)
        config = tmp_path / "schemathesis.toml"
        config.write_text(WITHOUT_CREDENTIALS)
        program = str(Path(sys.executable).with_name("st"))
        checks = "positive_data_acceptance,negative_data_rejection"
        command = [program, "--config-file", str(config), "run", str(description), "--url", f"http://[::1]:{web.port}"]
        words = ["--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "9915"]
        done = subprocess.run(
            [*command, *words, "--no-color"],
            capture_output=True,
            text=True,
            timeout=limit(120),
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{len(OPERATIONS)} selected / {len(OPERATIONS)} total" in done.stdout
        assert server.leases() == before
