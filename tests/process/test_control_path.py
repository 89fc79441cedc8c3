"""Where the control socket is, and how commands find it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from process.server import Server, until
from tandem.admin import target
from tandem.admin.client import CommandFailed, ControlClient


def test_in_a_runtime_directory_and_found_from_the_state_dir(tmp_path: Path) -> None:
    state_dir, runtime = tmp_path / "state", tmp_path / "run"
    state_dir.mkdir()
    runtime.mkdir()
    server = Server(state_dir)
    with server:
        assert stat.S_ISSOCK((state_dir / "control.sock").lstat().st_mode)
        server.stop()
        server.start(RUNTIME_DIRECTORY=str(runtime))
        assert (state_dir / "control.sock").readlink() == runtime / "control.sock"
        with ControlClient(runtime / "control.sock") as control:
            assert control.ask("status")["server"] == "a"
        assert stat.S_IMODE((runtime / "control.sock").stat().st_mode) == 0o660
        assert server.cli("status", "--state-dir", str(state_dir)).returncode == 0
        server.stop()
        assert not (state_dir / "control.sock").is_symlink()
        assert not (runtime / "control.sock").exists()
        server.start()
        assert stat.S_ISSOCK((state_dir / "control.sock").lstat().st_mode)


def test_a_link_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "control.sock").symlink_to(tmp_path / "gone" / "control.sock")
    with Server(tmp_path) as server:
        assert stat.S_ISSOCK((tmp_path / "control.sock").lstat().st_mode)
        until(server.answers, "the server answers")


def sockets(folder: Path, *names: str) -> list[Path]:
    made = [folder / name / "control.sock" for name in names]
    for each in made:
        each.parent.mkdir(parents=True, exist_ok=True)
        each.touch()
    return made


def test_a_command_looks_where_the_units_have_their_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "DEFAULT_STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(target, "RUNTIME_DIR", tmp_path / "run")

    def asked(state_dir: Path) -> str:
        with pytest.raises(CommandFailed) as failed, target.connect(state_dir, None):
            pass
        return str(failed.value)

    assert f"{tmp_path}/state/control.sock" in asked(tmp_path / "state")
    (only,) = sockets(tmp_path / "run", "a")
    assert asked(tmp_path / "state").startswith(f"{only} ")
    (other,) = sockets(tmp_path / "run", "b")
    assert asked(tmp_path / "state") == f"Several servers run here. Say which one with --socket: {only}, {other}."
    assert f"{tmp_path}/elsewhere/control.sock" in asked(tmp_path / "elsewhere")
    (tmp_path / "state").mkdir()
    (named,) = sockets(tmp_path, "state")
    assert asked(tmp_path / "state").startswith(f"{named} ")
