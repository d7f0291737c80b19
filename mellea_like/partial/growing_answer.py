"""The JSON in a model's answer: alone, fenced in some talk, or, for strings and choices, a word without its quotes."""

from __future__ import annotations

import re
from collections.abc import Callable
from json import dumps

from .growing_json import ATOMIC, SPACE, GrowingJson
from .json_tree import ATOM, OPEN, STRING, Shape, fault_told, told

_SAME_LINE = re.compile(r'[\n{\["]').search
_BRACKETS = '{["'
"""What begins like JSON and like nothing else."""


class GrowingAnswer(GrowingJson):
    """The tree of an answer that is fed to it.

    White space around the JSON is passed over. So is talk, where the answer does not begin like JSON and holds one
    block fenced by three backticks: that block is the answer. Where the shape takes words, a whole answer that does
    not begin like JSON and is none of the shape's is taken as a string.

    Args:
        shape: What the whole is to be; None takes any JSON.
    """

    __slots__ = ("_begins", "_fenced", "_ticks", "_whole")

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__(shape)
        self._step: Callable[[str, int], int] = self._before_answer
        self._begins = _begins(words=shape is not None and shape.words)
        self._ticks = 0
        self._fenced = self._whole = False

    def finish(self) -> bool:
        """Say that the text is whole; return whether the tree shows more than before. The end is a place of its own."""
        self._changed, self._whole = False, True
        end = self._place = self._tape.length
        self._tape.length += 1
        text = self._tape.cut(0, end).strip()
        if len(self._stack) == 1 and self.root.kind == ATOM and self.fault is None:
            self._end_atom(end)
        elif self._step == self._talk and ATOMIC(text):  # `true`, which might have been the beginning of talk
            self._open(ATOM, end)
            self._token = text
            self._end_atom(end)
        shape = self.root.shape
        if shape is not None and shape.words and text[:1] not in _BRACKETS and not self._is_good():
            self._take_word(shape, text, end)
        if self.root.closed == OPEN and self.fault is None:
            self._place = 0
            self._fail(end, "the text ends before the value does")
        return self._changed

    def _is_good(self) -> bool:
        return self.root.closed != OPEN and not self.root.problems and self.fault is None

    def _take_word(self, shape: Shape, text: str, end: int) -> None:
        """Take the whole answer for a string without its quotes."""
        value, problems = shape.judge(dumps(text))
        if problems and self.fault is None and self.root.closed != OPEN:
            return
        self._stack, earlier = [], self.root
        node = self._open(STRING, end)
        node.earlier, self.fault, self.wrong = earlier, None, problems[0] if problems else None
        node.plain, node.value, node.problems = text, value, problems
        node.end, node.closed = end, end + 1

    @property
    def problem(self) -> str | None:
        """What is wrong with the answer for good, as soon as that is certain; None where nothing is."""
        shape = self.root.shape
        if shape is not None and shape.words and not self._whole:
            return None  # it may still turn out to be no JSON
        if self.wrong is not None:
            return told([self.wrong])
        return None if self.fault is None else fault_told(self.fault)

    # --- steps, as those of JSON itself -----------------------------------------------------------------------------

    def _before_answer(self, text: str, at: int) -> int:
        if text[at] > " " or (at := SPACE(text, at).end()) < len(text):
            self._step = self._value if text[at] in self._begins else self._talk
        return at

    def _after_root(self, text: str, at: int) -> int:
        if text[at] <= " " and (at := SPACE(text, at).end()) == len(text):
            return at
        if not self._fenced:
            return super()._after_root(text, at)
        if text[at] != "`":
            return self._fail(at, f"expected the end of the fenced block, found {text[at]!r}")
        self._step = self._after_block
        self._ticks = -3  # the fence that ends the block is not one that begins another
        return at

    def _past_fence(self, text: str, at: int) -> int:
        """Return the place after three backticks in a row, 0 where there are none yet."""
        for i in range(at, len(text)):
            self._ticks = self._ticks + 1 if text[i] == "`" else min(self._ticks, 0)
            if self._ticks == 3:
                self._ticks = 0
                return i + 1
        return 0

    def _talk(self, text: str, at: int) -> int:
        past = self._past_fence(text, at)
        if past:
            self._fenced, self._step = True, self._fence_line
        return past or len(text)

    def _fence_line(self, text: str, at: int) -> int:
        """Pass over the name of a language; the value may stand on the same line."""
        found = _SAME_LINE(text, at)
        if found is None:
            return len(text)
        self._step = self._value
        return found.start()

    def _after_block(self, text: str, at: int) -> int:
        past = self._past_fence(text, at)
        if past:
            return self._fail(past - 1, "there are two fenced blocks, and only one can be the answer")
        return len(text)


def json_in(text: str, *, words: bool) -> str:
    """Return the JSON of an answer: the one fenced block in its talk, where it does not begin like JSON; else all.

    Args:
        text: The whole answer.
        words: Whether an answer may be no JSON at all; then a number may be the beginning of a sentence.
    """
    if "```" not in text or text.lstrip()[:1] in _begins(words=words):
        return text
    read = GrowingAnswer()
    read._begins = _begins(words=words)
    read.feed(text)
    fine = read.fault is None and read.root.closed <= read.place
    return read.text_of(read.root) if fine else text


def _begins(*, words: bool) -> str:
    """Return what the JSON of an answer begins with; anything else is talk around it, or a bare word."""
    return _BRACKETS if words else _BRACKETS + "-0123456789"
