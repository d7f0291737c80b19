"""The display of a running generation: put into a cell once, and updated until the generation has ended.

A thread of its own reads the log, because a cell may block the notebook's event loop, and the loop may block the cell.
IPython is imported where it runs already, and nowhere else.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import Any

from ..log import Log
from ..telemetry.telling import logger
from . import cells
from .picture import Drawing

PACE = 0.1
"""Seconds between two updates, at least; the first text and the end are shown at once."""


def notebook_runs() -> bool:
    """Whether this Python shows its values on a page that can be updated, and not in a terminal."""
    if "IPython.core.interactiveshell" not in sys.modules:
        return False
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    # The publisher of a terminal prints every update below the one before.
    return InteractiveShell.initialized() and type(InteractiveShell.instance().display_pub) is not DisplayPublisher


class Showing:
    """A display that was begun: it goes on by itself, and awaiting it waits until the end is shown.

    The generation is kept running to its end, because somebody looks at it; to end it, cancel its thunk or close the
    session. Showing is no reading in the sense of `is_computed()`: a loop in a later cell still gets the whole text.

    Args:
        log: What is shown.
        picture: How it is drawn.
        keep: What must not be collected while it is shown: the thunk.
    """

    def __init__(self, log: Log, picture: Drawing, *, keep: object) -> None:
        from IPython import display as pages

        display: Callable[..., Any] = pages.display
        self._log, self._picture, self._keep = log, picture, keep
        self._shown: Future[None] = Future()
        self._shown.set_running_or_notify_cancel()  # so that whoever gives up waiting does not cancel it
        ended = log.end is not None
        self._picture.look()
        if ended:
            display(self._picture.bundle(), raw=True)
            self._shown.set_result(None)
            return
        screen = display(self._picture.live_bundle(), raw=True, display_id=True)
        cells.begin(self)
        # An empty context: an update belongs to its display whatever cell runs, and one that runs is listened to.
        thread = threading.Thread(
            target=Context().run, args=(self._follow, screen.update), name="mellea-like display", daemon=True
        )
        thread.start()

    def _follow(self, update: Callable[..., object]) -> None:
        log, picture = self._log, self._picture
        try:
            while True:
                ended, seen = log.end is not None, len(log)  # in this order: at the end, everything has been said
                fresh = picture.look()
                if ended:
                    break
                if fresh:
                    update(picture.live_bundle(), raw=True)
                    log.wait_grown(None, PACE)
                log.wait_grown(seen)
            cells.finish(partial(update, picture.bundle(), raw=True))
        except Exception:  # a page that has gone must not print into whatever cell runs; the generation goes on
            logger.debug("The display of a generation ended early.", exc_info=True)
        finally:
            self._keep = None
            cells.forget(self)
            self._shown.set_result(None)

    @property
    def due(self) -> bool:
        """Whether the generation has ended, and only the last update is still to come."""
        return self._log.end is not None

    def __await__(self) -> Generator[Any, Any, None]:
        return asyncio.shield(asyncio.wrap_future(self._shown)).__await__()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, blocking, until the end is shown; False when `timeout` seconds passed first, None waits for the end."""
        try:
            self._shown.result(timeout)
        except TimeoutError:
            return False
        return True

    def _ipython_display_(self) -> None:
        """Show nothing: what is shown is shown already."""
