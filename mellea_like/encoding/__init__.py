"""Wire formats out: what a stream of events is on the wire. Each is a pure function of events, and knows no network.

Where an encoder follows its stream, `fresh()` gives one for each; else one serves any number of them. To add a wire
format is to add a file here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from ..events import Event


@runtime_checkable
class Encoder(Protocol):
    """A wire format: bytes for each thing that is said, each a whole frame, so that others may stand between them.

    Example:
        ```python
        from mellea_like import SSEEncoder, start_session

        encoder = SSEEncoder()
        with start_session("fake", answers="Hello!") as m:
            for event in m.instruct("Say hello.", await_result=False).events():
                print(encoder.encode(event, event.seq).decode(), end="")
        ```
    """

    @property
    def media_type(self) -> str:
        """The content type of the stream."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the stream needs to arrive as it is sent."""
        ...

    def fresh(self) -> Encoder:
        """Give an encoder for one more stream: itself, where it holds nothing of one."""
        ...

    def begin(self) -> bytes:
        """Give what stands before everything, empty where nothing does."""
        ...

    def encode(self, said: object, number: int) -> bytes:
        """Give the frames of one event, or of one piece of text, empty where it is not shown.

        Args:
            said: An event, text, or whatever else a source gives; nothing makes an encoder raise.
            number: Its place in the stream, from which a reader that was cut off can ask to go on.
        """
        ...

    def fail(self, error: BaseException, number: int) -> bytes:
        """Give the frames that say that the stream broke off; what they tell of `error` is safe for strangers."""
        ...

    def keep_alive(self) -> bytes:
        """Give what is sent when nothing is said, and means nothing."""
        ...

    def end(self) -> bytes:
        """Give what stands after everything, a failure too; empty where nothing does."""
        ...


def number_of(said: object, count: int) -> int:
    """Return the number that `said` has in its stream: its own `seq`, or for what has none `count`, its place."""
    return said.seq if isinstance(said, Event) and said.seq >= 0 else count


def is_failure(said: object) -> bool:
    """Whether it already says that the stream failed, so that nobody needs to say it again."""
    return isinstance(said, Event) and said.type in {"failed", "execution_error"}
