"""Jinja templates: sandboxed, strict about undefined names, each compiled once.

A template is a text, a file of this library's own, or a file beside the module of a component's class. Such a file is
compiled again when it was edited. Jinja itself is imported when the first template is rendered; nothing here knows
models or sessions.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MelleaError, TemplateError
from .parts import text_of

if TYPE_CHECKING:
    from jinja2 import Environment, Template

SUFFIX = ".jinja2"
_OWN = Path(__file__).parent / "templates"


def render(source: str, variables: Mapping[str, Any]) -> str:
    """Fill the template `source` with `variables`; a component among them reads as its text.

    Raises:
        TemplateError: the template has a syntax error, names a variable that is not there, or does what the sandbox
            forbids; the message says which and lists the variables that are there.
    """
    if "{" not in source:
        return source
    return _rendered(lambda: _compiled(source), _head(source), variables)


def render_file(name: str, variables: Mapping[str, Any]) -> str:
    """Fill the library's own template file `name`."""
    return _rendered(lambda: _loaded(name), repr(name), variables)


def render_for(kind: type, variables: Mapping[str, Any], *, names: tuple[str, ...] = ("*",)) -> str:
    """Fill the template file of a class.

    A file is looked for in the folder `templates` beside the module that defines the class, then beside those of its
    base classes, then among the library's own. Where a module has no file, as in a notebook, the folder is that of the
    current directory. Where it was found is remembered; the file itself is read again when it was edited.

    Args:
        kind: The class.
        variables: What the template may name.
        names: Files to look for, the first that exists is taken; `"*"` stands for `<ClassName>.jinja2`, of the class
            and then of its base classes. The ending may be left out.

    Raises:
        TemplateError: there is no such file (all places are listed), or it cannot be rendered (with file and line).
    """
    folder, name = _place_of(kind, names)
    return _rendered(lambda: _environment(folder).get_template(name), repr(str(Path(folder, name))), variables)


@lru_cache(maxsize=256)
def _place_of(kind: type, names: tuple[str, ...]) -> tuple[str, str]:
    """Find the folder and the name of a class's template file."""
    looked: dict[Path, None] = {}
    for path in _candidates(kind, names):
        looked[path] = None
        if path.is_file():
            return str(path.parent), path.name
    places = ", ".join(f"'{path}'" for path in looked)
    raise TemplateError(f"There is no template for {kind.__name__}. Looked for: {places}.")


def _candidates(kind: type, names: tuple[str, ...]) -> Iterator[Path]:
    above = [base for base in kind.__mro__ if base.__module__.partition(".")[0] not in sys.stdlib_module_names]
    folders = [_folder(base) for base in above] + [_OWN]
    for name in names:
        if name == "*":
            yield from (folder / f"{base.__name__}{SUFFIX}" for base, folder in zip(above, folders, strict=False))
            yield from (_OWN / f"{base.__name__}{SUFFIX}" for base in above)
            continue
        for folder in folders:
            yield folder / name
            if not name.endswith(SUFFIX):
                yield folder / f"{name}{SUFFIX}"


def _folder(kind: type) -> Path:
    if kind.__module__.partition(".")[0] == __package__:  # the front door names another module for it than its own
        return _OWN
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return (Path(file).parent if file else Path.cwd()) / "templates"


def _rendered(load: Callable[[], Template], shown: str, variables: Mapping[str, Any]) -> str:
    from jinja2 import TemplateError as JinjaError  # 60 ms that a plain prompt does not need
    from jinja2 import TemplateNotFound, TemplateSyntaxError

    try:
        text = load().render(variables)
    except TemplateSyntaxError as error:
        where = shown if error.filename is None else repr(error.filename)
        raise TemplateError(f"Line {error.lineno} of the template {where}: {error.message}.") from error
    except TemplateNotFound as error:
        raise TemplateError(f"{_where(error, shown)} wants the template {error.name!r}, which is not there.") from error
    except MelleaError:  # of a component or thunk inside
        raise
    except (JinjaError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        names = ", ".join(sorted(variables)) or "none"
        raise TemplateError(f"{_where(error, shown)} cannot be rendered: {error}. Variables given: {names}.") from error
    return text


def _where(error: BaseException, shown: str) -> str:
    """Name the line, and for an included file the file, that an error was raised in."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if "__jinja_exception__" in frame.f_globals:  # Jinja's mark on the frames that stand for template lines
            file = frame.f_code.co_filename
            return f"Line {line} of the template {shown if file == '<template>' else repr(file)}"
    return f"The template {shown}"


def _head(source: str) -> str:
    line = source.strip().partition("\n")[0]
    return repr(line if len(line) <= 60 else f"{line[:57]}...")


@lru_cache(maxsize=64)
def _environment(folder: str) -> Environment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        # Templates beside each other may include each other, and the library's own.
        loader=FileSystemLoader([folder, str(_OWN)]),
        # Prompts are text for a model, not HTML for a browser.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=text_of,
    )


@lru_cache(maxsize=512)
def _compiled(source: str) -> Template:
    return _environment(str(_OWN)).from_string(source)


@lru_cache(maxsize=64)
def _loaded(name: str) -> Template:
    return _environment(str(_OWN)).get_template(name)
