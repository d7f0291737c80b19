"""Running notebooks as a person would, with a real kernel, and what it said to the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

QUIET = """
    import warnings
    warnings.simplefilter("error")
    # What the kernel says of itself is not the library's.
    warnings.filterwarnings("ignore", module=r"(ipykernel|IPython|zmq|tornado|traitlets|jupyter_client)\\b")
"""


class Drawn(NamedTuple):
    """A message of the kernel that draws: what kind, the picture by media type, on which display, in which cell."""

    kind: str
    picture: dict[str, str]
    display: str | None
    cell: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one cell came to: its outputs in the end, and the messages that were sent to the page while it ran."""

    outputs: list[Any]

    @property
    def only(self) -> dict[str, str]:
        """The one picture that the cell shows, by media type."""
        assert [output.output_type for output in self.outputs] in (["display_data"], ["execute_result"]), self.outputs
        return dict(self.outputs[0]["data"])

    @property
    def printed(self) -> str:
        """What the cell printed, where it did nothing else."""
        assert {output.get("name") for output in self.outputs} == {"stdout"}, self.outputs
        return "".join(output["text"] for output in self.outputs)  # a page draws pieces that follow one another as one


class Client(NotebookClient):
    """A client that also notes every message of the kernel that draws."""

    def __init__(self, notebook: Any) -> None:
        quiet = ["--log-level=ERROR", "--HistoryManager.enabled=False"]
        super().__init__(notebook, timeout=60, extra_arguments=quiet)
        self.drawn: list[Drawn] = []

    def create_kernel_manager(self) -> AsyncKernelManager:
        # Without folders to search, "python3" is the Python that runs the tests, whatever the user has registered.
        here = KernelSpecManager(kernel_dirs=[])
        self.km = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=here)
        return self.km

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] in {"display_data", "update_display_data", "execute_result"}:
            content = msg["content"]
            display = content.get("transient", {}).get("display_id")
            self.drawn.append(Drawn(msg["msg_type"], content["data"], display, cell_index - 1))
        return super().process_message(msg, cell, cell_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A notebook that was run: its code cells in their order, and everything that was drawn."""

    cells: list[Shown]
    drawn: list[Drawn]

    def display_of(self, text: str) -> list[Drawn]:
        """List what was sent to the display that came to show `text`."""
        ids = {drawn.display for drawn in self.drawn if drawn.picture["text/plain"] == text}
        assert len(ids) == 1
        return [drawn for drawn in self.drawn if drawn.display in ids]


def run(cells: Sequence[str], folder: Path) -> Ran:
    """Run code cells in a new kernel; every cell must end well, with nothing on stderr and no warning."""
    sources = [dedent(QUIET), *map(dedent, cells)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in sources])
    client = Client(notebook)
    # The user's own folders, profile and history are left alone.
    own = {name: str(folder) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    log = folder / "stderr"
    with log.open("w") as stderr:
        client.execute(env={**os.environ, **own}, stderr=stderr)
    assert log.read_text("utf-8") == ""
    shown = [Shown(outputs=cell.outputs) for cell in notebook.cells]
    assert not [output for cell in shown for output in cell.outputs if output.get("name") == "stderr"], shown
    return Ran(cells=shown[1:], drawn=client.drawn)
