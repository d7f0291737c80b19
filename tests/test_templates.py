"""Template files beside a user's package: where they are found, when they are read, and what their errors say."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mellea_like import ComputedModelOutputThunk, Message, TemplateError
from mellea_like.component import Document, TemplateComponent
from mellea_like.content import ImageBlock
from mellea_like.template import render

MODULE = """
from dataclasses import dataclass
from mellea_like.component import TemplateComponent

@dataclass(frozen=True)
class Greeting(TemplateComponent):
    who: object
    tone: object = "kind"

class Warm(Greeting):
    pass

@dataclass
class Named(TemplateComponent):
    who: object
    template = "letter"
"""

Package = Callable[..., ModuleType]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Write a user's package with its templates, and import a module of it."""
    made: list[str] = []

    def build(name: str = "letters", source: str = MODULE, **templates: str) -> ModuleType:
        home = tmp_path / name
        (home / "templates").mkdir(parents=True)
        (home / "__init__.py").write_text("")
        (home / "saying.py").write_text(source)
        for file, text in templates.items():
            (home / "templates" / f"{file}.jinja2").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        made.append(name)
        return importlib.import_module(f"{name}.saying")

    yield build
    for name in [found for found in sys.modules if found.partition(".")[0] in made]:
        del sys.modules[name]


def sent(component: Any, fake: Any) -> Message:
    m = fake("ok")
    m.act(component)
    message: Message = m.backend.calls[0].messages[-1]
    return message


# --- where a file is found ------------------------------------------------------------------------------------------


def test_the_fields_fill_the_file_of_the_class(package: Package, fake: Any) -> None:
    letters = package(Greeting="Greet {{ who }} in a {{ tone }} tone.\n")
    assert sent(letters.Greeting("Ana"), fake) == Message("user", "Greet Ana in a kind tone.")


def test_a_subclass_without_a_file_has_its_bases(package: Package, fake: Any) -> None:
    letters = package(Greeting="base {{ who }}")
    assert sent(letters.Warm("Ana"), fake).content == "base Ana"


def test_a_subclass_in_another_package_prefers_its_own_file(package: Package, fake: Any) -> None:
    package(Greeting="base {{ who }}")
    other = package(
        "others", "from letters.saying import Greeting\n\nclass Own(Greeting):\n    pass\n", Own="own {{ who }}"
    )
    assert sent(other.Own("Ana"), fake).content == "own Ana"


def test_a_component_may_name_its_file(package: Package, fake: Any) -> None:
    letters = package(letter="Dear {{ who }}", Named="not this one")
    assert sent(letters.Named("Ana"), fake).content == "Dear Ana"


def test_a_named_file_may_be_the_librarys_own(package: Package, fake: Any) -> None:
    source = MODULE.replace("who: object\n    template", "content: object\n    query: object\n    template")
    letters = package(source=source.replace("'letter'", "'Query'").replace('"letter"', '"Query"'))
    assert sent(letters.Named("text", "why?"), fake).content == "text\n\nwhy?"


def test_a_missing_file_lists_where_it_was_looked_for(package: Package, tmp_path: Path, fake: Any) -> None:
    letters = package()
    with pytest.raises(TemplateError, match="There is no template for Warm") as caught:
        sent(letters.Warm("Ana"), fake)
    assert f"'{tmp_path / 'letters' / 'templates' / 'Warm.jinja2'}'" in str(caught.value)
    assert f"'{tmp_path / 'letters' / 'templates' / 'Greeting.jinja2'}'" in str(caught.value)
    assert f"{Path('mellea_like', 'templates', 'Warm.jinja2')}'" in str(caught.value)


def test_in_a_notebook_files_are_beside_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "Greeting.jinja2").write_text("cell {{ who }}")
    cell = ModuleType("cell")
    monkeypatch.setitem(sys.modules, "cell", cell)
    exec(MODULE, cell.__dict__)
    assert sent(cell.Greeting("Ana"), fake).content == "cell Ana"


def test_templates_beside_each_other_include_each_other(package: Package, fake: Any) -> None:
    letters = package(Greeting="{% include 'inner.jinja2' %}!", inner="Ana and {{ who }}")
    assert sent(letters.Greeting("Bo"), fake).content == "Ana and Bo!"


def test_nothing_above_the_folder_can_be_included(package: Package, tmp_path: Path, fake: Any) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    letters = package(Greeting="{% include '../../secret.txt' %}")
    with pytest.raises(TemplateError, match=r"wants the template '../../secret.txt', which is not there"):
        sent(letters.Greeting("Ana"), fake)


# --- what stands in it ----------------------------------------------------------------------------------------------


def test_thunks_and_components_stand_as_their_text(package: Package, fake: Any) -> None:
    letters = package(Greeting="{{ who }}; {% for t in tone %}<{{ t }}>{% endfor %}")
    greeting = letters.Greeting(ComputedModelOutputThunk.of("Ana"), [Document("a"), ComputedModelOutputThunk.of("b")])
    assert sent(greeting, fake).content == "Ana; <a><b>"


def test_images_among_the_fields_go_with_the_message(package: Package, fake: Any) -> None:
    image = ImageBlock(url="https://example.org/cat.png")
    letters = package(Greeting="Who is in {{ who }}?")
    assert sent(letters.Greeting([image]), fake).images == (image,)


def test_an_ordinary_class_offers_its_public_attributes(package: Package, fake: Any) -> None:
    source = (
        MODULE + "\nclass Plain(TemplateComponent):\n    def __init__(self):\n        self.who, self._no = 'Ana', 1\n"
    )
    letters = package(source=source, Plain="{{ who }} {{ _no is defined }}")
    assert sent(letters.Plain(), fake).content == "Ana False"


# --- when it is read ------------------------------------------------------------------------------------------------


def test_a_file_is_compiled_once_until_it_is_edited(package: Package, tmp_path: Path, fake: Any) -> None:
    from jinja2.environment import Environment

    letters = package(Greeting="one {{ who }}")
    compiled = []
    original = Environment.compile

    def counting(self: Environment, source: Any, *args: Any, **kwargs: Any) -> Any:
        compiled.append(source)
        return original(self, source, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", counting)
        assert [sent(letters.Greeting(n), fake).content for n in "ab"] == ["one a", "one b"]
        assert compiled == ["one {{ who }}"]
        file = tmp_path / "letters" / "templates" / "Greeting.jinja2"
        file.write_text("two {{ who }}")
        os.utime(file, (1, 1))  # a clock may be coarser than this test is slow
        assert sent(letters.Greeting("c"), fake).content == "two c"
        assert compiled == ["one {{ who }}", "two {{ who }}"]


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fine\n\n{{ nobody }}", "Line 3 of the template '{}' cannot be rendered: 'nobody' is undefined. Variables "),
        ("fine\n{% if %}", "Line 2 of the template '{}': Expected an expression"),
        ("a\nb\n{{ who + 1 }}", "Line 3 of the template '{}' cannot be rendered: can only concatenate"),
        ("{{ who.__class__ }}", "Line 1 of the template '{}' cannot be rendered: access to attribute"),
        ("a\n{% include 'part.jinja2' %}", "Line 2 of the template '{part}' cannot be rendered: 'nobody' is"),
        ("a\n{% include 'no.jinja2' %}", "Line 2 of the template '{}' wants the template 'no.jinja2', which is not"),
    ],
)
def test_an_error_names_file_and_line(package: Package, tmp_path: Path, fake: Any, text: str, said: str) -> None:
    letters = package(Greeting=text, part="fine\n{{ nobody }}")
    with pytest.raises(TemplateError) as caught:
        sent(letters.Greeting("Ana"), fake)
    folder = tmp_path / "letters" / "templates"
    assert str(caught.value).startswith(said.format(folder / "Greeting.jinja2", part=folder / "part.jinja2"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("one\n{{ a / 0 }}", "Line 2 of the template 'one' cannot be rendered: division by zero. Variables given: a."),
        ("one\n{{ b }}", "Line 2 of the template 'one' cannot be rendered: 'b' is undefined"),
        ("{% if a %}", "Line 1 of the template '{% if a %}': Unexpected end"),
    ],
)
def test_an_error_in_a_text_names_its_line(source: str, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(source, {"a": 1})
    assert said in str(caught.value)


def test_an_error_of_a_component_inside_is_its_own() -> None:
    class Broken:
        def parts(self) -> tuple[()]:
            return ()

        def messages(self) -> Any:
            raise TemplateError("mine")

    with pytest.raises(TemplateError, match=r"^mine$"):
        render("{{ c }}", {"c": Broken()})


def test_the_base_alone_has_no_template() -> None:
    with pytest.raises(TemplateError, match="There is no template for TemplateComponent"):
        TemplateComponent().messages()


def test_the_librarys_own_components_keep_their_templates_whoever_imports_what(ran: Callable[[str], str]) -> None:
    # The front door renames the module of what it gives out, and `Query` is a base of `Transform`.
    said = """
        from mellea_like import Query, start_session

        with start_session("fake", answers="ok") as m:
            m.transform([1], "Make it two.")
            print(Query.__module__, "Give only" in m.backend.calls[0].messages[0].content)
    """
    assert ran(said) == "mellea_like True\n"
