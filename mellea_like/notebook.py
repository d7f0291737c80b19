"""Showing a running generation in a notebook's cell: `show(thunk)`."""

from __future__ import annotations

from typing import Any

from .display.live import Showing, notebook_runs
from .errors import WrongUse
from .thunk import ModelOutputThunk


def show(thunk: ModelOutputThunk[Any], *, events: bool = True) -> Showing:
    """Show a thunk in this notebook's cell: live text that ends as rendered Markdown, in one output that is updated.

    A thunk that is a cell's last value shows itself so. This is for more than one in a cell, for choosing what is
    seen, and for waiting: `await show(thunk)` lasts until the end is on the page, which a notebook that is run without
    a person (by nbconvert) needs for its last cell. The generation runs on while it is shown; `thunk.cancel()` ends it.

    Args:
        thunk: What is shown, running or not; one with `format=` as a growing object.
        events: Whether attempts and verdicts of a judged call are shown as they come and go; False shows the accepted
            text alone.

    Returns:
        The display: `await` it, or `wait()` for it in synchronous code.

    Raises:
        WrongUse: this is not a notebook.

    Example:
        ```text
        m = start_session()
        t = await m.ainstruct("Tell me a story.", await_result=False)
        await show(t)
        ```

    Source: IPython's display protocol, https://ipython.readthedocs.io/en/stable/config/integrating.html
    """
    if not notebook_runs():
        raise WrongUse(
            "There is no notebook here to show a thunk in. In a terminal, iterate: "
            "`for delta in thunk: print(delta, end='', flush=True)`."
        )
    return Showing(thunk._log, keep=thunk, shape=thunk._shape, events=events)
