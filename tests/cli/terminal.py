"""A terminal that tests type into and read: a program behind a pseudo-terminal, and a screen with its scrollback."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pexpect
import pyte

PATIENCE = 20.0
ENTER, ALT_ENTER, CTRL_C, CTRL_D, UP, TAB = "\r", "\x1b\r", "\x03", "\x04", "\x1b[A", "\t"


class Terminal:
    """A program in a terminal of its own."""

    def __init__(
        self, *argv: str, home: Path, columns: int = 80, rows: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        kept = {
            name: value for name, value in os.environ.items() if name not in {"TMUX", "NO_COLOR", "COLUMNS", "LINES"}
        }
        self._child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "mellea_like", *argv],
            dimensions=(rows, columns),
            timeout=PATIENCE,
            cwd=os.fspath(home),
            env={
                **kept,
                "TERM": "xterm-256color",
                "HOME": os.fspath(home),
                "XDG_STATE_HOME": os.fspath(home),
                **(env or {}),
            },
        )
        self.screen = pyte.HistoryScreen(columns, rows, history=5000, ratio=1.0)
        self.screen.write_process_input = self._child.send
        self._stream = pyte.ByteStream(self.screen)
        self.home = home
        self.written = b""

    def type(self, text: str) -> None:
        self._child.send(text)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self._child.setwinsize(rows, columns)

    @property
    def lines(self) -> list[str]:
        """All that can be read: what has scrolled away, and the screen; without blank ends."""
        away = ["".join(line[i].data for i in range(self.screen.columns)) for line in self.screen.history.top]
        lines = [line.rstrip() for line in [*away, *self.screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, pattern: str) -> re.Match[str]:
        """Read until the screen, with what has scrolled away, has `pattern` somewhere."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text, re.MULTILINE)):
            assert time.monotonic() < deadline, f"{pattern!r} is not on the screen:\n{self.text}"
            self._read(deadline)
        return found

    def prompt(self) -> None:
        """Wait until the next line can be typed."""
        self.until(r"^>\Z")

    def end(self) -> int:
        """Read to the program's end, and return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._child.isalive() or self._child.flag_eof is False:
            if not self._read(deadline):
                break
        self._child.close()
        return self._child.exitstatus if self._child.exitstatus is not None else -self._child.signalstatus

    def _read(self, deadline: float) -> bool:
        try:
            new = self._child.read_nonblocking(65536, timeout=max(0.1, deadline - time.monotonic()))
        except pexpect.EOF:
            return False
        except pexpect.TIMEOUT:
            raise AssertionError(f"nothing more comes:\n{self.text}") from None
        self.written += new
        self._stream.feed(new)
        return True

    def close(self) -> None:
        self._child.close(force=True)
