"""What a program asked of the kernel, in order, as strace wrote it down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHANGING = (
    "?open,openat,?creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "sync_file_range,?unlink,unlinkat,?rename,renameat,renameat2,?link,linkat,?mkdir,mkdirat,sendto,sendmsg,sendmmsg"
)
"""All calls by which something could be written or sent; ? since not every architecture has them."""

LINE = re.compile(r"(\d+) +(\w+)\((.*?)(?: <unfinished \.\.\.>|\) += (-?\d+|\?).*)$")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>.*\) += (-?\d+|\?).*$")
DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")


class Call(NamedTuple):
    """A system call that begins, or, with a `result`, that has ended.

    `file` is what its descriptor stands for, `strings` are its other names and data, `text` is all as strace has it.
    """

    thread: int
    name: str
    file: str
    strings: tuple[bytes, ...]
    text: str
    result: int | None = None

    @property
    def number(self) -> int:
        """Its last argument: an offset or a size."""
        return int(self.text.rpartition(" ")[2])


def wrapper(output: Path) -> tuple[str, ...]:
    """Give the command that runs another and writes its calls to a file."""
    options = ("-f", "-y", "-xx", "--seccomp-bpf", "-s", "1000000")
    return ("strace", *options, "-e", "signal=none", "-e", f"trace={CHANGING}", "-o", str(output), "--")


def read_trace(file: Path) -> Iterator[Call]:
    """Give each call twice: when it began and when it ended. One that was killed in between never ends."""
    open_calls: dict[int, Call] = {}
    for line in file.read_text().splitlines():
        if (found := LINE.match(line)) is not None:
            thread, name, text, result = found.groups()
            call = open_calls[int(thread)] = _call(int(thread), name, text)
            yield call
        elif (found := RESUMED.match(line)) is not None:
            thread, _, result = found.groups()
            call = open_calls[int(thread)]
        else:
            continue
        if result not in (None, "?"):
            yield call._replace(result=int(result))


def _call(thread: int, name: str, text: str) -> Call:
    descriptor = DESCRIPTOR.match(text)
    file = HEX.sub(lambda match: _octets(match[0]).decode(), descriptor[1]) if descriptor else ""
    return Call(thread, name, file, tuple(_octets(each) for each in STRING.findall(text)), text)


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
