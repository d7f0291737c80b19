"""Filling a message in: `{name}` in plain messages, Jinja in those that are written as templates.

One rule says which is which: a message that contains `{{` or `{%` anywhere is a Jinja template; every other message is
plain. In a plain message `{name}`, `{name.field}` and `{price:.2f}` are filled in (None as nothing), and every other
brace stays as it is, so that JSON may be shown as it reads. To show `{name}` itself, write it in a Jinja message:
`{{ '{name}' }}` or `{% raw %}{name}{% endraw %}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import TemplateError
from ..parts import has_components, settled, text_of
from ..template import render
from .paths import MISSING, PATH, found_at

if TYPE_CHECKING:
    from jinja2 import nodes

_FIELD = re.compile(rf"\{{({PATH})(?::([^{{}}\s]+))?\}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageText:
    """The text of one message as its file has it.

    Args:
        text: The text, with its placeholders.
        path: The file.
        field: Which field of the file it is.
        line: The line on which the text begins, counted from 1.
    """

    text: str
    path: str = "<text>"
    field: str = "user"
    line: int = 1

    @property
    def is_jinja(self) -> bool:
        """Whether it is a Jinja template; see the rule above."""
        return "{{" in self.text or "{%" in self.text

    def needs(self) -> Mapping[str, int]:
        """Return the variables that it cannot do without, each with its line; what Jinja has a default for is none.

        Raises:
            TemplateError: it is a Jinja template with a mistake in it.
        """
        found = _jinja_needs(self.text, self.where) if self.is_jinja else _plain_needs(self.text)
        return {name: self.line + line for name, line in found}

    def left_as_it_is(self) -> set[str]:
        """List the names in single braces of a Jinja template, which stay as they are and may be meant otherwise."""
        if not self.is_jinja:
            return set()
        shown_raw = re.sub(r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}", "", self.text, flags=re.DOTALL)
        written = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", shown_raw, flags=re.DOTALL)
        return {found[1].partition(".")[0] for found in _FIELD.finditer(written)}

    def filled(self, variables: Mapping[str, Any]) -> str:
        """Fill it in; lists read as their items with commas between them, thunks and components as their text.

        Raises:
            TemplateError: a variable, or a field of one, is not there, or the template is wrong.
        """
        if self.is_jinja:
            try:
                return render(self.text, variables)
            except TemplateError as error:
                raise TemplateError(f"{self.where}: {error}") from error
        return _FIELD.sub(lambda found: self._value(found, variables), self.text)

    def _value(self, found: re.Match[str], variables: Mapping[str, Any]) -> str:
        path, spec = found[1], found[2]
        value = found_at(path, variables)
        if value is MISSING:
            line = self.line + self.text.count("\n", 0, found.start())
            raise missing(path, line, self, variables)
        if spec is None:
            return shown(value)
        try:
            return format(value, spec)
        except (ValueError, TypeError) as error:
            raise TemplateError(f"{self.where}: {found[0]!r} cannot be filled with {value!r}: {error}.") from error

    @property
    def where(self) -> str:
        """The file, the line and the field, for a message."""
        return f"{self.path!r}, line {self.line}, in `{self.field}`"


def missing(name: str, line: int, message: MessageText, given: Mapping[str, Any]) -> TemplateError:
    """Build the error for a variable that a message needs and that was not given."""
    names = ", ".join(map(repr, sorted(given))) or "none"
    escaped = "" if message.is_jinja else f" If the braces mean themselves, write `{{{{ '{{{name}}}' }}}}`."
    return TemplateError(
        f"{message.path!r}, line {line}: the prompt needs the variable {name!r} (in `{message.field}`), which was not "
        f"given. Given: {names}.{escaped}"
    )


def shown(value: Any) -> str:
    """Return a value as it stands in a plain message: a list as its items, with commas between; None as nothing."""
    value = settled(value)
    if value is None:
        return ""
    if isinstance(value, list | tuple) and not has_components(value):
        return ", ".join(map(shown, value))
    return text_of(value)


def _plain_needs(text: str) -> Iterator[tuple[str, int]]:
    for found in reversed(list(_FIELD.finditer(text))):  # the first place of a name is the one that stays
        yield found[1].partition(".")[0], text.count("\n", 0, found.start())


@lru_cache(maxsize=256)
def _jinja_needs(text: str, where: str) -> tuple[tuple[str, int], ...]:
    from jinja2 import Environment, TemplateSyntaxError, nodes  # 60 ms that a plain prompt does not need
    from jinja2.meta import find_undeclared_variables

    try:
        # Read only, never rendered; what renders is the sandboxed environment of `template.py`.
        tree = Environment(autoescape=False).parse(text)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{where}: line {error.lineno} of the template: {error.message}.") from error
    needed = find_undeclared_variables(tree) - set(_optional(tree))
    first: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in needed:
            first.setdefault(name.name, name.lineno - 1)
    return tuple(first.items())


def _optional(tree: nodes.Template) -> Iterator[str]:
    """Give the names that a template asks about (`is defined`) or has a default for."""
    from jinja2 import nodes

    for found in tree.find_all((nodes.Test, nodes.Filter)):
        asks = found.name in {"defined", "undefined", "default", "d"}
        if asks and isinstance(found.node, nodes.Name):
            yield found.node.name
