"""Jinja templates: sandboxed, strict about undefined names, each compiled once.

Knows nothing of models or sessions. Jinja itself is imported when the first template is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .errors import TemplateError

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_OWN_TEMPLATES = "templates"


def render(source: str, variables: Mapping[str, Any]) -> str:
    """Fill the template `source` with `variables`.

    Raises:
        TemplateError: the template has a syntax error, names a variable that is not there, or does what the sandbox
            forbids; the message says which and lists the variables that are there.
    """
    if "{" not in source:
        return source
    return _rendered(_compiled, source, variables)


def render_file(name: str, variables: Mapping[str, Any]) -> str:
    """Fill the library's own template file `name`."""
    return _rendered(_loaded, name, variables)


def _rendered(load: Any, source: str, variables: Mapping[str, Any]) -> str:
    from jinja2 import TemplateError as JinjaError  # 60 ms that a plain prompt does not need
    from jinja2 import TemplateSyntaxError

    try:
        text: str = load(source).render(variables)
    except TemplateSyntaxError as error:
        raise TemplateError(f"Line {error.lineno} of the template {_head(source)}: {error.message}.") from error
    except JinjaError as error:
        names = ", ".join(sorted(variables)) or "none"
        raise TemplateError(
            f"The template {_head(source)} cannot be rendered: {error.message}. Variables given: {names}."
        ) from error
    return text


def _head(source: str) -> str:
    line = source.strip().partition("\n")[0]
    return repr(line if len(line) <= 60 else f"{line[:57]}...")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import PackageLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        loader=PackageLoader("mellea_like", _OWN_TEMPLATES),
        # Prompts are text for a model, not HTML for a browser.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=512)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


@lru_cache(maxsize=64)
def _loaded(name: str) -> Template:
    return _environment().get_template(name)
