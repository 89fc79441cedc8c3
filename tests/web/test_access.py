"""Tokens: what is kept of them, who may do what with one, and files that are not right."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from tandem.admin.web.access import Caller, Role, Tokens, TokensError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"any:{password}".encode()).decode()


def test_a_token_says_who_asks(file: Path) -> None:
    tokens = Tokens(file)
    mine, grafanas = tokens.new("me", Role.OPERATOR), tokens.new("grafana", Role.READ_ONLY)
    assert tokens.caller(f"Bearer {mine}") == Caller("me", Role.OPERATOR)
    assert tokens.caller(f"bearer  {grafanas} ") == Caller("grafana", Role.READ_ONLY)
    assert tokens.caller(basic(mine)) == Caller("me", Role.OPERATOR)
    assert tokens.names() == {"grafana": "read-only", "me": "operator"}


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer x", "Basic", "Basic !", "Basic /w==", "Digest x", basic("x")]
)
def test_anything_else_says_nothing(file: Path, given: str) -> None:
    tokens = Tokens(file)
    assert tokens.caller(given) is None  # nor does a file that is not there
    tokens.new("me", Role.OPERATOR)
    assert tokens.caller(given) is None


def test_the_file_does_not_hold_the_token_and_is_not_for_everybody(file: Path) -> None:
    token = Tokens(file).new("me", Role.READ_ONLY)
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o007 == 0


def test_a_removed_token_is_worthless_at_once(file: Path) -> None:
    running, elsewhere = Tokens(file), Tokens(file)
    token = elsewhere.new("me", Role.OPERATOR)
    assert running.caller(f"Bearer {token}") is not None
    elsewhere.remove("me")
    assert running.caller(f"Bearer {token}") is None
    with pytest.raises(TokensError, match="There is no token 'me'; there are: none"):
        elsewhere.remove("me")


def test_names_are_given_once(file: Path) -> None:
    Tokens(file).new("me", Role.OPERATOR)
    with pytest.raises(TokensError, match="already"):
        Tokens(file).new("me", Role.OPERATOR)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"me": 1}', '{"me": {"role": "king", "sha256": "00"}}', '{"me": {"sha256": "00"}}']
)
def test_a_file_that_is_not_right_lets_nobody_in(file: Path, text: str) -> None:
    tokens = Tokens(file)
    token = tokens.new("me", Role.OPERATOR)
    assert tokens.caller(f"Bearer {token}") is not None
    file.write_text(text)
    os.utime(file, ns=(1, 1))
    assert tokens.caller(f"Bearer {token}") is None
    with pytest.raises(TokensError, match="is not a file of tokens"):
        tokens.new("you", Role.OPERATOR)
    assert file.read_text() == text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TokensError, match="cannot be written"):
        Tokens(tmp_path / "nowhere" / "tokens").new("me", Role.OPERATOR)
