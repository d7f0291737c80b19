"""The line that is typed: many rows, history across sessions, completion of commands, files and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth

from ..backends import backend_names
from .commands import COMMANDS, Command


def keyboard(*, color: bool | None = None) -> PromptSession[str]:
    """Build what reads the next thing to say.

    Args:
        color: Whether there may be colours; None asks the environment.
    """
    return PromptSession(
        FormattedText([("bold", "> ")]),
        multiline=True,
        prompt_continuation="  ",
        key_bindings=_keys(),
        history=_history(),
        completer=SlashCompleter(COMMANDS),
        # Only then is room kept below the line for a menu: it would push the screen up at every prompt.
        complete_while_typing=Condition(lambda: get_app().current_buffer.text.startswith("/")),
        color_depth=ColorDepth.DEPTH_1_BIT if color is False else None,
        reserve_space_for_menu=6,
    )


async def agreed(question: str) -> bool:
    """Ask a yes-or-no question; anything but yes is no."""
    try:
        answer = await PromptSession[str]().prompt_async(f"{question} [y/N] ")
    except (EOFError, KeyboardInterrupt):
        return False
    return answer.strip().lower() in {"y", "yes"}


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\") and buffer.document.is_cursor_at_the_end:
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        elif buffer.text.strip():
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _next_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-c")
    def _clear(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return keys


def _history() -> History:
    from platformdirs import user_state_path

    path = user_state_path("mellea-like") / "chat_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:  # a home that cannot be written must not end a chat
        return InMemoryHistory()
    return FileHistory(path)


class SlashCompleter(Completer):
    """Completes a command's name, and then what it takes."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Give what the text before the cursor may become."""
        name, space, rest = document.text_before_cursor.partition(" ")
        if not name.startswith("/") or "\n" in document.text:
            return
        if not space:
            for each, command in self._commands.items():
                if each.startswith(name):
                    yield Completion(each, -len(name), display_meta=command.about)
        elif name == "/model":
            yield from (Completion(each, -len(rest)) for each in backend_names() if each.startswith(rest))
        elif name in self._commands and self._commands[name].takes_files:
            yield from self._files.get_completions(Document(rest), complete_event)
