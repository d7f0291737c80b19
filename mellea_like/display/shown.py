"""What makes a thunk show itself in a notebook: as live text while it runs, as rendered Markdown in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..log import Log
from ..partial.json_tree import Shape

if TYPE_CHECKING:
    from .picture import Drawing


class Shown:
    """The views of a thunk on a page."""

    __slots__ = ()

    if TYPE_CHECKING:
        _log: Log
        _shape: Shape | None

    def _ipython_display_(self) -> None:
        from .live import Showing, notebook_runs

        if not notebook_runs():
            raise NotImplementedError  # IPython's word for: show its `repr`
        Showing(self._log, self._picture(), keep=self)

    def _repr_markdown_(self) -> str:
        return self._picture().markdown()

    def _repr_html_(self) -> str:
        picture = self._picture()
        return picture.html() if self._log.end is not None else picture.live_html()

    def _picture(self, *, events: bool = True) -> Drawing:
        from .picture import Picture

        picture = Picture(self._log, shape=self._shape, events=events)
        picture.look()
        return picture
