"""Draw the pictures of the documentation: what a chat in the terminal looks like.

uv run scripts/pictures.py
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from mellea_like import check, simple_validate, start_session
from mellea_like.cli.conversation import Conversation
from mellea_like.cli.markdown import Row
from mellea_like.cli.pages import Page
from mellea_like.cli.showing import Showing
from mellea_like.cli.talking import timing
from mellea_like.cli.view import AnswerView

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
COLUMNS = 76
EXPLAINED = """\
A **thunk** is a value that is still being computed. You can:

1. wait for it, with `await thunk`,
2. read it while it grows:

```python
async for delta in thunk:
    print(delta, end="")
```
"""
LONG = "A thunk is a value that a model is still computing, which you may await, or stream, or pass on to another call."
SHORT = "A *thunk* is a value that is still on its way."


class Kept(Page):
    """A page that keeps the rows that are finished."""

    def __init__(self) -> None:
        super().__init__(
            console=Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=COLUMNS, height=50)
        )
        self.rows: list[Row] = []

    def update(self, done: Sequence[Row], live: Sequence[Row]) -> None:
        """Keep what is finished."""
        self.rows += done


async def talk(page: Kept) -> None:
    """Have the conversation that is shown."""
    with start_session("fake", context_type="chat", answers=[EXPLAINED, LONG, SHORT], delay=0.01) as m:
        chat = Conversation(m)
        page.say(f"{chat.model}. /help lists the commands, Ctrl-D leaves.", "dim")
        await turn(page, chat, "What is a thunk?")
        page.say("> /require At most twelve words.", "bold")
        few = simple_validate(lambda text: (len(text.split()) <= 12, f"There are {len(text.split())} words."))
        chat.requirements = [check("At most twelve words.", few)]
        page.say("Each answer has 2 attempts at:\n- At most twelve words.")
        await turn(page, chat, "Again, in short.")


async def turn(page: Kept, chat: Conversation, question: str) -> None:
    """Ask and show one thing."""
    page.say(f"> {question}", "bold")
    thunk = await chat.ask(question)
    await Showing(thunk, AnswerView(page, held=bool(chat.requirements))).run()
    page.say(f"{timing(thunk)}\n", "dim")


def main() -> None:
    """Draw `docs/pictures/chat.svg`."""
    page = Kept()
    asyncio.run(talk(page))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for row in page.rows:
        console.print(Text.from_ansi(row.text), soft_wrap=True)
    # A picture asks nobody for fonts.
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / "chat.svg"
    path.write_text(console.export_svg(title="mellea-like chat", code_format=form, unique_id="chat"), "utf-8")
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
