"""Prompt files: where they are found, what they may say, and what is told about mistakes in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mellea_like import TemplateError, UnknownName
from mellea_like.errors import InvalidFile
from mellea_like.prompts.loading import load_prompt

Writer = Callable[[str, str], Path]


def said(prompt: str | Path, **variables: Any) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in load_prompt(prompt).filled(variables).messages()]


def test_system_and_user_are_said_in_this_order(write: Writer) -> None:
    write("p", "user: Greet {name}.\nsystem: You are {style}.")
    assert said("p", name="Ana", style="kind") == [("system", "You are kind."), ("user", "Greet Ana.")]


def test_segments_of_a_system_message_stand_below_each_other(write: Writer) -> None:
    write("p", "system: [{content: One, cache: true}, Two]\nuser: Hi")
    assert said("p")[0] == ("system", "One\n\nTwo")


def test_template_is_another_name_of_user(write: Writer) -> None:
    write("p", "template: Hi {name}")
    assert said("p", name="Ana") == [("user", "Hi Ana")]


def test_declared_variables_have_defaults(write: Writer) -> None:
    write("p", "variables: {style: friendly, n: {default: 3, type: int}, note: {required: false}}\nuser: '{style} {n}'")
    assert said("p") == [("user", "friendly 3")]
    assert said("p", style="stern", unused="fine") == [("user", "stern 3")]


def test_a_declared_variable_is_wanted_whether_it_is_used_or_not(write: Writer) -> None:
    write("p", "user: Hi\nvariables:\n  - name\n")
    with pytest.raises(TemplateError, match="needs the variable 'name'"):
        load_prompt("p").filled()


def test_a_missing_variable_is_named_with_file_line_and_what_was_given(write: Writer) -> None:
    path = write("p", "system: Be {style}.\nuser: |\n  Hello\n  {name}!\n")
    with pytest.raises(TemplateError) as caught:
        load_prompt("p").filled({"style": "kind"})
    assert f"'{path}', line 4: the prompt needs the variable 'name' (in `user`)" in str(caught.value)
    assert "Given: 'style'." in str(caught.value)
    assert "write `{{ '{name}' }}`" in str(caught.value)


def test_a_prompt_is_looked_for_in_each_place_in_turn(
    write: Writer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places = ["mine/p.yaml", "graphs/prompts/p.yaml", "prompts/p.yaml", "listed/p.yml"]
    for place in places:
        write(place, f"user: {place}")
    monkeypatch.setenv("MELLEA_LIKE_PROMPTS", os.pathsep.join(["nowhere", "listed"]))
    for place in places:
        prompt = load_prompt("p", prompts_dir="mine", graph_path="graphs/g.yaml")
        assert prompt.user.text == place
        (tmp_path / place).unlink()


def test_a_path_is_that_file_and_beside_a_graph_relative_to_it(write: Writer, tmp_path: Path) -> None:
    write("graphs/p.yaml", "user: beside")
    write("p.yaml", "user: here")
    assert load_prompt("p.yaml", graph_path="graphs/g.yaml").user.text == "beside"
    assert load_prompt("p.yaml").user.text == "here"
    assert load_prompt(tmp_path / "graphs" / "p.yaml").user.text == "beside"


def test_a_prompt_may_lie_in_a_folder_of_prompts(write: Writer) -> None:
    write("mail/reply", "user: Reply")
    assert load_prompt("mail/reply").user.text == "Reply"


def test_a_prompt_that_does_not_exist_lists_those_that_do_and_where_it_was_looked_for(write: Writer) -> None:
    write("greet", "user: Hi")
    write("mail/reply", "user: Hi")
    with pytest.raises(UnknownName) as caught:
        load_prompt("gret", prompts_dir="other")
    assert caught.value.valid == ("greet", "mail/reply")
    assert "Did you mean 'greet'?" in str(caught.value)
    assert str(caught.value).endswith("Looked in: 'other', 'prompts'.")


def test_an_edited_file_is_read_again_and_an_unchanged_one_is_not(write: Writer) -> None:
    path = write("p", "user: one")
    first = load_prompt("p")
    assert load_prompt("p") is first
    path.write_text("user: two")
    os.utime(path, ns=(1, 1))
    assert load_prompt("p").user.text == "two"


def test_a_schema_becomes_a_type(write: Writer) -> None:
    write(
        "p",
        """\
        user: Who?
        schema:
          name: Person
          description: Somebody.
          fields:
            name: {type: str, description: The whole name, constraints: {min_length: 1}}
            age: {type: int, optional: true, constraints: {ge: 0}}
            tags: {type: "list[str]", default: []}
            kind: {enum: [adult, child]}
            scores: {type: "dict[str, float]", default: {}}
            note: {type: str | null, default: null}
            home: {type: object, fields: {town: {type: str}}}
            pets: {type: list, fields: {name: {type: str}}, default: []}
            more: {type: Any, optional: true}
        """,
    )
    person: Any = load_prompt("p").format
    ada = person(name="Ada", kind="adult", home={"town": "London"}, pets=[{"name": "Rex"}])
    assert (ada.age, ada.tags, ada.home.town, ada.pets[0].name, ada.more) == (None, [], "London", "Rex", None)
    assert (person.__name__, person.__doc__) == ("Person", "Somebody.")
    for wrong in ({"name": ""}, {"age": -1}, {"kind": "cat"}, {"home": {}}, {"scores": {"a": "x"}}):
        with pytest.raises(ValueError, match="validation error"):
            person(**({"name": "Ada", "kind": "adult", "home": {"town": "London"}} | wrong))


def test_an_output_schema_becomes_a_type(write: Writer) -> None:
    write(
        "p",
        """\
        user: Who?
        output_schema:
          title: Person
          type: object
          required: [name, home]
          properties:
            name: {type: string, minLength: 2}
            kind: {enum: [adult, child]}
            ages: {type: array, items: {type: integer}}
            note: {type: [string, "null"]}
            home: {type: object, required: [town], properties: {town: {type: string}}}
        """,
    )
    person: Any = load_prompt("p").format
    assert person(name="Ada", home={"town": "London"}, ages=[1]).home.town == "London"
    for wrong in ({"name": "A"}, {"kind": "cat"}, {"ages": ["x"]}, {"home": {}}):
        with pytest.raises(ValueError, match="validation error"):
            person(**({"name": "Ada", "home": {"town": "London"}} | wrong))


def bomb(levels: int) -> str:
    """Write a file of nine aliases, of nine aliases, and so on."""
    lines = ["user: Hi", "l0: &l0 [" + "x, " * 9 + "]"]
    return "\n".join([*lines, *(f"l{n}: &l{n} [" + f"*l{n - 1}, " * 9 + "]" for n in range(1, levels))])


def chain(levels: int) -> str:
    """Write a file that is deep with its aliases written out."""
    return "\n".join(["user: Hi", "l0: &l0 [x]", *(f"l{n}: &l{n} [*l{n - 1}]" for n in range(1, levels))])


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("usr: Hi", [(1, "Did you mean 'user'?"), (1, "user: Field required")]),
        ("user: Hi\nuser: Ho", [(2, "written twice")]),
        ("user: &u Hi\nmetadata: &m {a: 1,\n a: 2}\nmodel_options: *m", [(3, "metadata.a: this key is written twice")]),
        ("user: Hi\nmetadata: {<<: {a: 1}, b: 1,\n b: 2}", [(3, "metadata.b: this key is written twice")]),
        ("user: Hi\nmetadata: &m\n  a: *m", [(3, "the alias *m stands inside what it names")]),
        ("user: Hi\nmetadata:\n  a: " + "[" * 5_000, [(3, "nested deeper than 100 levels; make it flatter")]),
        ("user: Hi\nmetadata:\n  a: " + "{a: " * 200_000, [(3, "nested deeper than 100 levels")]),
        (bomb(99), [(7, "the aliases up to here stand for more than 100,000 values; let them name smaller things")]),
        (chain(150), [(100, "nested deeper than 100 levels")]),
        ("user: [a\nb: }", [(2, "this is not YAML")]),
        ("user: Hi\nat: 2001-99-99", [(1, "this is not YAML")]),
        ("- Hi", [(1, "holds a list")]),
        ("just words", [(1, "holds 'just words'")]),
        ("", [(1, "user: Field required")]),
        ("user: 3", [(1, "user: Input should be a valid string")]),
        ("user: Hi\ntemperature: -1", [(2, "temperature: Input should be greater")]),
        ("user: Hi\ntemplate: Ho", [(1, "another name of `user`")]),
        ("messages: []", [(1, "write `system` and `user`")]),
        ("user: Hi\nvariables:\n  a b: 3", [(3, "should match pattern")]),
        ("user: Hi\nschema:\n  fields:\n    a: {type: strr}", [(4, "there is no type 'strr'")]),
        ("user: Hi\nschema:\n  fields:\n    a: {tpe: int}", [(4, "Did you mean 'type'?")]),
        (
            "user: Hi\nschema:\n  fields:\n    a: {type: int, constraints: {pattern: x}}",
            [(4, "takes no constraint 'pattern'")],
        ),
        ("user: Hi\nschema:\n  fields: {}", [(3, "at least 1 item")]),
        ("user: Hi\noutput_schema: {type: string}", [(2, "describes an object")]),
        ("user: Hi\noutput_schema: {properties: {a: {$ref: x}}}", [(2, "'$ref', which is not read here")]),
        ("user: Hi\nschema: {fields: {a: {}}}\noutput_schema: {properties: {a: {}}}", [(1, "write one of them")]),
        ("user: Hi\nsystem: a\nsystem_segments: [b]", [(1, "write one of them")]),
    ],
)
def test_every_mistake_in_a_file_is_told_with_its_line(write: Writer, text: str, faults: list[tuple[int, str]]) -> None:
    path = write("p", text)
    with pytest.raises(InvalidFile) as caught:
        load_prompt("p")
    error = caught.value
    assert (error.path, error.line) == (str(path), faults[0][0])
    assert [fault.line for fault in error.faults] == [line for line, _ in faults]
    for line, words in faults:
        assert any(fault.line == line and words in fault.text for fault in error.faults)
    assert str(error).startswith(f"'{path}', line {faults[0][0]}: ")


def test_what_is_merged_gives_way_to_what_is_written(write: Writer) -> None:
    write(
        "p",
        """\
        user: Hi
        model_options:
          one: &one {a: 1, b: 1}
          two: {<<: *one, b: 2}
          three: {<<: [{b: 3, c: 3}, *one], "<<": kept}
        """,
    )
    found = load_prompt("p").model_options
    assert (found["two"], found["three"]) == ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 3, "<<": "kept"})


def test_a_mistake_in_what_is_merged_is_told_where_it_is_written(write: Writer) -> None:
    write("p", "user: Hi\nschema:\n  fields:\n    a: &a\n      type: strr\n    b:\n      <<: *a\n      optional: true")
    with pytest.raises(InvalidFile) as caught:
        load_prompt("p")
    assert [fault.line for fault in caught.value.faults] == [5, 5]


def test_a_file_that_is_not_text_is_a_mistake_of_the_file(write: Writer) -> None:
    write("p", "user: Hi").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidFile, match="cannot be read"):
        load_prompt("p")
