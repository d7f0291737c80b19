"""Showing a running generation in a notebook's cell: `show(thunk)`."""

from __future__ import annotations

from typing import Any

from .display.live import Showing, notebook_runs
from .errors import InvalidArgument, WrongUse
from .thunk import ModelOutputThunk


def show(thunk: ModelOutputThunk[Any], *, events: bool = True) -> Showing:
    """Show a thunk in this notebook's cell: live text that ends as rendered Markdown, in one output that is updated.

    A graph's run is shown as what its nodes say, each under its name, and ends as the state that it came to.

    What is a cell's last value shows itself so. This is for more than one in a cell, for choosing what is seen, and for
    waiting: `await show(thunk)` lasts until the end is on the page, which a notebook that is run without a person (by
    nbconvert) needs for its last cell. The generation runs on while it is shown; `thunk.cancel()` ends it.

    Args:
        thunk: What is shown, running or not; one with `format=` as a growing object. Or a graph's run.
        events: Whether attempts and verdicts of a judged call are shown as they come and go; False shows the accepted
            text alone.

    Returns:
        The display: `await` it, or `wait()` for it in synchronous code.

    Raises:
        InvalidArgument: it is no thunk.
        WrongUse: this is not a notebook.

    Example:
        ```text
        m = start_session()
        t = await m.ainstruct("Tell me a story.", await_result=False)
        await show(t)
        ```

    Source: IPython's display protocol, https://ipython.readthedocs.io/en/stable/config/integrating.html
    """
    if not isinstance(thunk, ModelOutputThunk):
        raise InvalidArgument(f"`show` takes a thunk or a graph's run, not {type(thunk).__name__}: {thunk!r}.")
    if not notebook_runs():
        raise WrongUse(
            "There is no notebook here to show a thunk in. In a terminal, iterate: "
            "`for delta in thunk: print(delta, end='', flush=True)`."
        )
    return Showing(thunk._log, thunk._picture(events=events), keep=thunk)
