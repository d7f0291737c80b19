"""Objects that a model is asked about: what it sees of them, which methods go along, and that they stay as they are."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from mellea_like import ComputedModelOutputThunk, InvalidArgument, Message, UnknownName
from mellea_like.component import Document
from mellea_like.content import ImageBlock
from mellea_like.mified import MifiedProtocol, MObject, Query, Transform, askable, mify
from mellea_like.parts import Component, OffersTools, Parsing, parsed_by, text_of


class Account:
    """An object that counts how often its property is asked, and knows nothing of models."""

    limit: int = 5
    kind: ClassVar[str] = "account"

    def __init__(self, owner: object = "Ana") -> None:
        self.owner = owner
        self.amount = 3
        self._secret = "hidden"
        self.asked = 0

    @property
    def balance(self) -> int:
        self.asked += 1
        return self.amount * 2

    def deposit(self, amount: int) -> int:
        """Put money in."""
        self.amount += amount
        return self.amount

    @classmethod
    def empty(cls) -> Account:
        """Open an account without money."""
        return cls("nobody")

    @staticmethod
    def rate() -> float:
        """Tell the interest."""
        return 0.5

    async def wire(self) -> None:
        """Send money."""

    def undocumented(self) -> None: ...

    def _private(self) -> None:
        """Nobody's business."""


@dataclass
class Person:
    name: object
    age: int = 3
    tags: list[object] = field(default_factory=list)


@mify(fields_include={"table"}, template="Table:\n{{ table }}")
class Sales:
    table: str = "| north | 4 |"

    def __init__(self) -> None:
        self.note = "unseen"

    def transpose(self) -> str:
        """Swap rows and columns."""
        return "|"


class Slotted:
    __slots__ = ("a", "b", "c")

    def __init__(self) -> None:
        self.a, self.b = 1, "two"


# --- what the model sees --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "options", "text"),
    [
        (Account(), {}, '{"owner": "Ana", "amount": 3, "asked": 0, "limit": 5}'),
        (Account(), {"fields_include": ["owner", "limit"]}, '{"owner": "Ana", "limit": 5}'),
        (Account(), {"fields_include": {"balance"}}, '{"balance": 6}'),
        (Account(), {"fields_include": "_secret"}, '{"_secret": "hidden"}'),
        (Account(), {"fields_exclude": {"asked", "amount"}}, '{"owner": "Ana", "limit": 5}'),
        (Account(), {"fields_include": ["owner", "limit"], "fields_exclude": ["limit"]}, '{"owner": "Ana"}'),
        (Account(), {"stringify_func": lambda a: f"{a.owner}'s"}, "Ana's"),
        (Account(), {"template": "{{ owner }} has {{ amount }}"}, "Ana has 3"),
        (Account(), {"template": "<{{ content }}>", "stringify_func": lambda a: a.owner}, "<Ana>"),
        (Account(ComputedModelOutputThunk.of("Bo")), {"fields_include": ["owner"]}, '{"owner": "Bo"}'),
        (Person("Ana"), {}, "Person(name='Ana', age=3, tags=[])"),
        (Person(ComputedModelOutputThunk.of("Bo")), {}, '{"name": "Bo", "age": 3, "tags": []}'),
        (Person("Ana", tags=[Document("x", "T")]), {}, '{"name": "Ana", "age": 3, "tags": ["T\\nx"]}'),
        (Slotted(), {}, '{"a": 1, "b": "two"}'),
        (SimpleNamespace(x=1), {"fields_include": ["x"]}, '{"x": 1}'),
        ({"a": [1, ComputedModelOutputThunk.of("b")]}, {}, '{"a": [1, "b"]}'),
        (4.5, {}, "4.5"),
        (Path("a/b"), {}, str(Path("a/b"))),
    ],
)
def test_an_object_reads_as_it_was_chosen(thing: Any, options: Any, text: str, fake: Any) -> None:
    m = fake("ok")
    m.act(mify(thing, **options))
    assert m.backend.calls[0].messages == (Message("user", text),)


def test_a_decorated_class_reads_through_its_template() -> None:
    assert text_of(Sales()) == "Table:\n| north | 4 |"


def test_a_template_file_is_found_by_name_or_by_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "Thing.jinja2").write_text("{{ a }}\n")
    thing = type("Thing", (), {"__module__": "nowhere"})()
    thing.a = 1
    assert text_of(mify(thing, template_order=["missing", "*"])) == "1"
    assert text_of(mify(thing, template_order="Thing")) == "1"


def test_an_unknown_field_lists_those_there_are() -> None:
    with pytest.raises(UnknownName, match=r"no field of Account called 'ownr'. Did you mean 'owner'\?.*'amount'"):
        mify(Account(), fields_include=["ownr"]).messages()


def test_images_in_fields_go_along() -> None:
    image = ImageBlock(url="https://example.org/cat.png")
    (message,) = mify(Person("Ana", tags=[image]), fields_include=["name", "tags"]).messages()
    assert message.images == (image,)
    assert Query(Person("Ana", tags=[image]), "Who?").messages()[0].images == (image,)


# --- questions and transformations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (Query([1, 2], "Which is larger?"), "[1, 2]\n\nWhich is larger?"),
        (Query("a text", "What is it?"), "a text\n\nWhat is it?"),
        (Query(ComputedModelOutputThunk.of("earlier"), ComputedModelOutputThunk.of("why?")), "earlier\n\nwhy?"),
        (Query(Document("x", "T"), "Title?"), "T\nx\n\nTitle?"),
        (Query(Sales(), "North?"), "Table:\n| north | 4 |\n\nNorth?"),
        (Query(Account, "What is it?"), "<class 'test_mify.Account'>\n\nWhat is it?"),
        (Transform(Person("Ana"), "Older."), "Person(name='Ana', age=3, tags=[])\n\nOlder.\nGive only what "),
    ],
)
def test_anything_can_be_asked_about(asked: Any, text: str, fake: Any) -> None:
    m = fake("ok")
    m.act(asked)
    assert m.backend.calls[0].messages[0].content.startswith(text)


def test_a_running_thunk_in_an_object_is_awaited(fake: Any) -> None:
    m = fake(lambda request: f"<{request.messages[0].content}>")
    name = m.instruct("Name?", await_result=False)
    assert m.act(Query(Person(name), "Who?")).value == '<{"name": "<Name?>", "age": 3, "tags": []}\n\nWho?>'


def test_a_mified_object_builds_its_own_kinds_of_questions() -> None:
    class Ask(Query): ...

    class Change(Transform): ...

    person = mify(Person("Ana"), query_type=Ask, transform_type=Change)
    assert isinstance(person.get_query_object("Who?"), Ask)
    assert isinstance(person.get_transform_object("Older."), Change)
    assert text_of(person.get_query_object("Who?")).endswith("\n\nWho?")


def test_a_question_keeps_what_the_object_was_when_it_was_asked_about() -> None:
    person = Person("Ana")
    query = Query(person, "Who?")
    before = query.messages()
    person.name = "Bo"
    assert query.messages() == before
    assert "Bo" in text_of(Query(person, "Who?"))


@pytest.mark.parametrize("parser", [None, lambda text: Person(text)])
def test_a_transform_is_parsed_by_the_object(parser: Any) -> None:
    transform = mify(Person("Ana"), parsing_func=parser).get_transform_object("Rename.")
    assert parsed_by(transform, "Bo") == ("Bo" if parser is None else Person("Bo"))


def test_a_decorated_class_parses_too() -> None:
    @mify(parsing_func=int)
    class Number: ...

    assert isinstance(Number(), Parsing)
    assert not isinstance(Sales(), Parsing)
    assert parsed_by(Transform(Number(), "Double."), "4") == 4


def test_an_objects_own_parse_is_not_about_answers() -> None:
    class Parser:
        def parse(self, text: str) -> int:
            raise AssertionError

    assert not isinstance(mify(Parser()), Parsing)
    assert parsed_by(Transform(Parser(), "Change."), "text") == "text"


# --- tools ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["deposit", "empty", "rate", "wire"]),
        ({"funcs_exclude": {"wire", "rate"}}, ["deposit", "empty"]),
        ({"funcs_include": ["undocumented", "deposit"]}, ["undocumented", "deposit"]),
        ({"funcs_include": ["deposit", "rate"], "funcs_exclude": ["rate"]}, ["deposit"]),
        ({"funcs_include": []}, []),
    ],
)
def test_the_chosen_methods_go_along_as_tools(options: Any, names: list[str]) -> None:
    account = mify(Account(), **options)
    for offering in (account, account.get_transform_object("x"), account.get_query_object("x")):
        assert isinstance(offering, OffersTools)
        assert list(offering.tools()) == names


def test_a_tool_is_the_objects_own_method() -> None:
    account = Account()
    assert Transform(account, "Add.").tools()["deposit"](4) == 7
    assert account.amount == 7


def test_a_decorated_class_offers_its_methods_and_not_those_of_a_component() -> None:
    assert list(Sales().tools()) == ["transpose"]


def test_methods_of_other_packages_are_not_offered() -> None:
    from pydantic import BaseModel

    class Model(BaseModel):
        x: int = 1

        def double(self) -> int:
            """Double it."""
            return 2 * self.x

    assert list(mify(Model()).tools()) == ["double"]
    assert list(mify([1, 2]).tools()) == []
    assert Transform("text", "Change.").tools() == {}


def test_an_unknown_method_lists_those_there_are() -> None:
    with pytest.raises(UnknownName, match=r"no method of Account called 'depsit'. Did you mean 'deposit'\?"):
        mify(Account(), funcs_include=["depsit"]).tools()
    with pytest.raises(UnknownName, match=r"no method of Account called 'depsit'"):
        mify(type("Account", (Account,), {}), funcs_include=["depsit"])


# --- objects stay as they are ---------------------------------------------------------------------------------------


def snapshot(kind: type) -> dict[str, Any]:
    return dict(vars(kind))


@pytest.mark.parametrize("kind", [Account, Sales])
def test_a_class_that_is_asked_about_is_left_alone(kind: type) -> None:
    before = snapshot(kind)
    assert text_of(askable(kind).get_query_object("What is it?")) == f"{kind}\n\nWhat is it?"
    assert snapshot(kind) == before


@pytest.mark.parametrize(
    ("thing", "text"),
    [(None, "None"), ("text", "text"), (Document("x", "T"), "T\nx"), (ComputedModelOutputThunk.of("y"), "y")],
)
def test_what_reads_by_itself_reads_so_when_it_is_wrapped(thing: Any, text: str) -> None:
    assert text_of(askable(thing)) == text
    assert text_of(Query(thing, "?")) == f"{text}\n\n?"


def test_a_running_thunk_is_awaited_when_it_is_asked_about(fake: Any) -> None:
    m = fake(lambda request: f"<{request.messages[0].content}>")
    poem = m.instruct("A poem.", await_result=False)
    assert m.act(askable(poem).get_query_object("Good?")).value == "<<A poem.>\n\nGood?>"


def test_an_object_and_its_class_are_left_alone() -> None:
    account, before = Account(), snapshot(Account)
    state = dict(vars(account))
    mified = mify(account, fields_exclude=["limit"])
    mified.messages(), mified.tools(), Query(account, "?").messages(), Transform(account, "!").messages()
    assert vars(account) == state
    assert snapshot(Account) == before
    assert not isinstance(account, Component)
    assert mified.wrapped is account


@pytest.mark.parametrize("options", [{}, {"template": "{{ amount }}"}, {"fields_exclude": ["asked"]}])
def test_a_property_that_was_not_chosen_is_never_asked(options: Any) -> None:
    account = Account()
    transform = mify(account, **options).get_transform_object("Change.")
    list(transform.parts()), transform.messages(), transform.tools()
    assert account.asked == 0


def test_a_chosen_property_is_asked_once_for_a_question(fake: Any) -> None:
    account = Account()
    m = fake(["6", "yes"], context_type="chat")
    m.act(mify(account, fields_include=["balance"]).get_query_object("How much?"))
    m.act("Sure?")
    assert account.asked == 1


def test_a_wrapped_object_is_still_the_object() -> None:
    mified = mify(Account())
    assert (mified.owner, mified.balance, str(mified)) == ("Ana", 6, str(mified.wrapped))
    with pytest.raises(AttributeError, match="nothing"):
        _ = mified.nothing
    assert copy.copy(mify(Person("Ana"))).wrapped == Person("Ana")
    assert pickle.loads(pickle.dumps(mify(Person("Ana")))).name == "Ana"


def test_mifying_again_keeps_or_renews_the_choice() -> None:
    mified = mify(Account(), fields_include=["owner"])
    assert mify(mified) is mified
    assert text_of(mify(mified, fields_include=["limit"])) == '{"limit": 5}'
    sales = Sales()
    assert mify(sales) is sales  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("mified", [Sales(), mify(Account()), MObject()])
def test_every_mified_object_is_a_component_and_of_the_protocol(mified: Any) -> None:
    assert isinstance(mified, Component)
    assert isinstance(mified, MifiedProtocol)


def test_a_subclass_of_a_decorated_class_may_choose_anew() -> None:
    @mify(fields_include="note")
    class Noted(Sales): ...

    assert text_of(Noted()) == '{"note": "unseen"}'
    assert text_of(Sales()).startswith("Table:")


@pytest.mark.parametrize("name", ["parts", "messages", "tools", "parse"])
def test_a_class_that_has_such_a_member_is_refused_and_its_objects_are_not(name: str) -> None:
    kind = type("Machine", (), {"__annotations__": {name: "list"}})
    with pytest.raises(InvalidArgument, match=f"Machine already has '{name}'.*Mify its objects instead"):
        mify(kind)
    thing = kind()
    setattr(thing, name, ["screw"])
    assert text_of(mify(thing, fields_include=[name])) == f'{{"{name}": ["screw"]}}'


def test_an_mobject_says_itself_how_it_reads() -> None:
    class Table(MObject):
        def __init__(self) -> None:
            self.rows = [[1, 2]]

        def content_as_string(self) -> str:
            """Give the rows."""
            return f"rows: {self.rows}"

        def shuffle(self) -> None:
            """Mix the rows."""

    assert text_of(Table().get_query_object("Sum?")) == "rows: [[1, 2]]\n\nSum?"
    assert list(Table().get_transform_object("Sort.").tools()) == ["shuffle"]


def test_a_decorator_wants_a_class() -> None:
    with pytest.raises(InvalidArgument, match=r"@mify decorates a class, not 3"):
        mify(fields_include=["x"])(3)  # type: ignore[arg-type]
