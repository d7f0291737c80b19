"""What a message reads like once it is filled in, and which of the two ways of filling it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import MelleaSession, TemplateError
from mellea_like.prompts.filling import MessageText
from mellea_like.prompts.paths import MISSING, found_at


@dataclass
class Customer:
    name: str
    tags: tuple[str, ...] = ()
    _hidden: str = "x"

    def shout(self) -> str:
        return self.name.upper()


def filled(text: str, **variables: Any) -> str:
    return MessageText(text=text).filled(variables)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hi {name}.", "Hi Ana."),
        ("Hi {name}, {name}!", "Hi Ana, Ana!"),
        ("{items}", "a, 2, c"),
        ("{nested.key}", "deep"),
        ("{nested.list.1}", "second"),
        ("{customer.name}", "Bo"),
        ("{customer.tags}", "x, y"),
        ("{price:.2f}", "3.50"),
        ("{nothing}", ""),
        ("no braces", "no braces"),
        ('{"a": 1, "b": {}}', '{"a": 1, "b": {}}'),
        ("{ name }", "{ name }"),
        ("{}", "{}"),
        ("{0}", "{0}"),
        ("a {name", "a {name"),
        ('{"who": "{name}"}', '{"who": "Ana"}'),
        ("{{ name }}", "Ana"),
        ("{{ '{name}' }} is {{ name }}", "{name} is Ana"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{% for i in items %}[{{ i }}]{% endfor %}", "[a][2][c]"),
        ("{{ missing | default('none') }}", "none"),
        ("{% if missing is defined %}x{% endif %}y", "y"),
    ],
)
def test_a_message_is_filled_in(text: str, wanted: str) -> None:
    variables: dict[str, Any] = {
        "name": "Ana",
        "items": ["a", 2, "c"],
        "nested": {"key": "deep", "list": ["first", "second"]},
        "customer": Customer("Bo", ("x", "y")),
        "price": 3.5,
        "nothing": None,
    }
    assert filled(text, **variables) == wanted


@given(st.text().filter(lambda text: "{{" not in text and "{%" not in text))
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert filled("<{value}>", value=value) == f"<{value}>"
    assert filled("<{value}>", value="{name} {{ name }}", name="no") == "<{name} {{ name }}>"


@given(
    st.recursive(st.integers() | st.text("ab"), lambda inner: st.lists(inner) | st.dictionaries(st.text("k"), inner))
)
def test_json_stands_as_it_is_written(value: Any) -> None:
    text = json.dumps({"spaced": value}, indent=1)
    if "{{" not in text:
        assert filled(text) == text


@pytest.mark.parametrize("text", ["{name}", "{name.first}", "{{ name }}", "{{ other.first }}"])
def test_a_variable_that_is_not_there_is_named(text: str) -> None:
    with pytest.raises(TemplateError, match=r"name|first"):
        filled(text, other={})


def test_a_format_that_does_not_fit_says_so() -> None:
    with pytest.raises(TemplateError, match=r"'\{price:.2f\}' cannot be filled with 'dear'"):
        filled("{price:.2f}", price="dear")


def test_what_a_template_cannot_do_without_is_found_with_its_line() -> None:
    plain = MessageText(text="{a}\n{b.c} {a}", line=10)
    jinja = MessageText(
        text="{{ a }}\n{% for x in b %}{{ x }}{% endfor %}\n{{ c | default(1) }}{{ d is defined }}", line=5
    )
    assert plain.needs() == {"a": 10, "b": 11}
    assert jinja.needs() == {"a": 5, "b": 6}


def test_a_jinja_mistake_is_told_with_file_and_line() -> None:
    with pytest.raises(TemplateError, match=r"'p.yaml', line 7, in `user`: line 2 of the template: .*endif"):
        MessageText(text="a\n{% endif %}", path="p.yaml", line=7).needs()


def test_a_jinja_message_cannot_reach_pythons_insides() -> None:
    with pytest.raises(TemplateError):
        filled("{{ name.__class__.__mro__ }}", name="Ana")


@pytest.mark.parametrize(
    "path", ["name.__class__", "customer.shout", "customer._hidden", "items.9", "items.x", "nobody", "name.x"]
)
def test_a_path_reads_values_and_nothing_else(path: str) -> None:
    assert found_at(path, {"name": "Ana", "customer": Customer("Bo"), "items": [1]}) is MISSING


def test_thunks_read_as_their_text(fake: Any) -> None:
    m: MelleaSession = fake("Ana")
    assert filled("Hi {name} of {names}", name=m.instruct("who?"), names=[m.instruct("who?")]) == "Hi Ana of Ana"
