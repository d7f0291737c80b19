"""Errors, events and content: pure data that copies, pickles and explains itself."""

import copy
import pickle
from typing import Any

import pytest

import mellea_like
from mellea_like import (
    Answer,
    BackendError,
    BackendUnavailable,
    ContextOverflow,
    Delta,
    Failed,
    Finished,
    ImageBlock,
    InvalidArgument,
    MelleaError,
    Message,
    RateLimited,
    TemplateError,
    Usage,
    start_session,
)
from mellea_like.errors import fresh_copy
from mellea_like.template import render

ERRORS = [kind for name in mellea_like.__all__ if isinstance(kind := getattr(mellea_like, name), type)]
ERRORS = [kind for kind in ERRORS if issubclass(kind, MelleaError)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("twin", [copy.copy, fresh_copy, lambda e: pickle.loads(pickle.dumps(e))], ids="cfp")
def test_an_error_survives_copying_and_pickling_with_its_facts(kind: type[MelleaError], twin: Any) -> None:
    error = kind("It went wrong.", backend="b", retry_after=1.5)
    again = twin(error)
    assert type(again) is kind
    assert (str(again), again.args, vars(again)) == ("It went wrong.", error.args, vars(error))


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("BackendUnavailable", ConnectionError),
        ("BackendTimeout", TimeoutError),
        ("ResultTimeout", TimeoutError),
        ("UnknownName", ValueError),
        ("NotComputed", RuntimeError),
        ("MissingPackage", ImportError),
        ("OutputParseError", ValueError),
    ],
)
def test_an_error_is_also_the_builtin_that_one_would_catch(kind: str, builtin: type[Exception]) -> None:
    assert issubclass(getattr(mellea_like, kind), builtin)


def test_facts_have_defaults_where_they_were_not_given() -> None:
    assert RateLimited("slow down").retry_after is None
    assert ContextOverflow("too long").input_tokens is None
    assert BackendError("x").backend == ""


class Awkward(Exception):
    """An error whose constructor cannot be called again by `copy`."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first}{second}")
        self.first = first


@pytest.mark.parametrize("error", [Awkward(1, 2), KeyError("k"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")])
def test_a_foreign_error_reaches_every_reader_as_itself(error: Exception) -> None:
    m = start_session("fake", answers=Answer(["a", error]))
    thunk = m.instruct("x", await_result=False)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            thunk.result()
        assert caught.value.args == error.args


def test_a_readers_copy_names_the_original_as_its_cause() -> None:
    thunk = start_session("fake", answers=Answer([BackendUnavailable("gone")])).instruct("x", await_result=False)
    with pytest.raises(BackendUnavailable) as first:
        thunk.result()
    with pytest.raises(BackendUnavailable) as second:
        thunk.result()
    assert first.value is not second.value
    assert first.value.__cause__ is second.value.__cause__ is thunk.error


@pytest.mark.parametrize("name", [name for name in mellea_like.__all__ if callable(getattr(mellea_like, name))])
def test_every_public_name_says_that_it_lives_in_the_front_room(name: str) -> None:
    assert getattr(mellea_like, name).__module__ == "mellea_like"


def test_an_unknown_public_name_is_an_attribute_error_that_lists_the_names() -> None:
    with pytest.raises(AttributeError, match=r"start_sesion.*start_session"):
        mellea_like.start_sesion  # noqa: B018


def test_usage_adds_up() -> None:
    one, two = Usage(input_tokens=1, output_tokens=2, cached_tokens=1), Usage(output_tokens=3, estimated=True)
    assert one + two == Usage(input_tokens=1, output_tokens=5, cached_tokens=1, estimated=True)
    assert (two + two).cached_tokens is None
    assert (one + two).total_tokens == 6


def test_events_are_plain_data_with_a_type() -> None:
    assert Delta(text="a", seq=3).as_dict() == {"type": "delta", "seq": 3, "seconds": 0.0, "attempt": 1, "text": "a"}
    assert pickle.loads(pickle.dumps(Finished(usage=Usage()))) == Finished(usage=Usage())
    assert Failed(error=BackendError("x")).type == "failed"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n..", "image/png"),
        (b"\xff\xd8\xff..", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF....WEBP", "image/webp"),
    ],
)
def test_an_image_knows_what_it_is(content: bytes, media_type: str) -> None:
    image = ImageBlock.from_bytes(content)
    assert image.as_url().startswith(f"data:{media_type};base64,")
    assert f"{len(content)} bytes" in repr(image)


def test_what_is_not_an_image_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not PNG"):
        ImageBlock.from_bytes(b"plain text")


def test_a_message_with_an_unknown_role_lists_the_roles() -> None:
    with pytest.raises(MelleaError, match=r"'robot'.*'assistant', 'system', 'tool', 'user'"):
        Message("robot", "beep")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ a.__class__ }}", "unsafe"),
        ("{{ missing }}", "'missing' is undefined. Variables given: a"),
        ("{{ a.nope }}", "nope"),
        ("fine\n{% if %}", "Line 2"),
        ("{% include 'instruction.jinja2' %}{{ zzz }}", "undefined"),
    ],
)
def test_a_template_that_cannot_be_rendered_says_why(source: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        render(source, {"a": "text"})
