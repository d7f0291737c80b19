"""Images: from whatever a user has one in, to what a backend is sent."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mellea_like import ImageBlock, Instruction, InvalidArgument, Message
from mellea_like.component import Document, SimpleComponent
from mellea_like.content import make_image_block


def encoded(kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, kind, **options)
    return buffer.getvalue()


PNG = encoded()
BLOCK = ImageBlock.from_bytes(PNG)


@dataclass
class Scan:
    page: ImageBlock


def pixels(block: ImageBlock) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(base64.b64decode(block.value)))
    return image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I", "CMYK", "YCbCr", "HSV", "LAB", "F"])
def test_an_image_of_pillows_becomes_png_whatever_its_mode(mode: str) -> None:
    block = ImageBlock.from_pil_image(Image.new(mode, (3, 2)))
    assert block.media_type == "image/png"
    assert pixels(block).size == (3, 2)


def test_transparency_is_kept() -> None:
    image = Image.new("RGBA", (1, 1), (1, 2, 3, 4))
    assert pixels(ImageBlock.from_pil_image(image)).getpixel((0, 0)) == (1, 2, 3, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_bytes_of_every_kind_are_known(kind: str) -> None:
    assert ImageBlock.from_bytes(encoded(kind)).media_type == f"image/{kind.lower()}"


@pytest.mark.parametrize(
    "source",
    [
        BLOCK,
        PNG,
        bytearray(PNG),
        Image.open(io.BytesIO(PNG)),
        base64.b64encode(PNG).decode(),
        BLOCK.as_url(),
    ],
    ids=["block", "bytes", "bytearray", "pillow", "base64", "data url"],
)
def test_a_block_is_made_of_whatever_an_image_comes_as(source: Any) -> None:
    block = make_image_block(source)
    assert pixels(block).getpixel((0, 0)) == (255, 0, 0)


def test_a_block_is_made_of_a_path(tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    assert make_image_block(file) == make_image_block(str(file)) == BLOCK


@pytest.mark.parametrize("url", ["https://example.org/cat.png", "http://localhost/x", "HTTPS://example.org/CAT.PNG"])
def test_an_address_is_passed_on_and_not_fetched(url: str) -> None:
    assert make_image_block(url) == ImageBlock(url=url)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (3, "int is not an image: 3. Give an image of Pillow's"),
        (b"text", "These 4 bytes are not PNG"),
        (b"RIFF....WAVE", "not PNG"),
        ("a\0b", "The image file .* cannot be read: embedded null"),
        ("no/such.png", "The image file 'no/such.png' cannot be read: No such file"),
        (Path(), r"The image file '\.' cannot be read"),
        (__file__, "test_images.py' is not an image. These .* bytes"),
        ("ftp://example.org/cat.png", "'ftp://example.org/cat.png' is not the address of an image"),
        ("data:text/plain,hello", "is not the address of an image"),
        ("data:image/png;base64,!!", "base64 text; '!!'… is not"),
        ("iVBORw0KGgo!", "The text 'iVBORw0KGgo!'… is neither a path nor an image in base64"),
        ("x" * 5000, "neither a path nor an image"),
    ],
)
def test_what_is_no_image_is_refused_with_its_cause(source: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        make_image_block(source)


@pytest.mark.parametrize(("given", "said"), [({}, "neither"), ({"value": "AAAA", "url": "http://x"}, "both")])
def test_a_block_has_a_value_or_an_address(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"either a value or a url; {said} was given"):
        ImageBlock(**given)


def test_what_only_looks_like_pillows_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="takes an image of Pillow's, not str"):
        ImageBlock.from_pil_image("cat")  # type: ignore[arg-type]


def test_an_image_that_cannot_be_encoded_says_so() -> None:
    with pytest.raises(InvalidArgument, match="cannot be written as PNG"):
        ImageBlock.from_pil_image(Image.new("RGB", (0, 0)))


# --- what is sent ---------------------------------------------------------------------------------------------------

SAYINGS = {
    "message": lambda image: Message("user", "Look.", images=[image]),
    "instruction": lambda image: Instruction(description="Look.", images=[image]),
    "variable": lambda image: Instruction(description="{{ x }}", user_variables={"x": make_image_block(image)}),
    "grounding": lambda image: Instruction(
        description="Look.", grounding_context={"scan": Document([make_image_block(image)])}
    ),
    "named part": lambda image: SimpleComponent(x={"y": [make_image_block(image)]}),
    "message in a component": lambda image: SimpleComponent(x=Message("user", "Look.", images=[image])),
}


@pytest.mark.parametrize("saying", SAYINGS)
def test_an_image_of_pillows_reaches_the_backend(saying: str, fake: Any) -> None:
    m = fake("a red one")
    m.act(SAYINGS[saying](Image.new("RGB", (3, 2), "red")))
    (image,) = m.backend.calls[0].messages[0].images
    assert pixels(image).getpixel((2, 1)) == (255, 0, 0)


ABOUT_IMAGES = {
    "alone": BLOCK,
    "address": ImageBlock(url="https://example.org/cat.png"),
    "in a dict": {"scan": BLOCK},
    "in a list": [1, [BLOCK]],
    "in a field": Scan(BLOCK),
    "in a component": SimpleComponent(scan=BLOCK),
}


@pytest.mark.parametrize("thing", ABOUT_IMAGES)
def test_a_question_about_an_image_shows_it_and_does_not_spell_it(thing: str, fake: Any) -> None:
    m = fake("a red one")
    m.query(ABOUT_IMAGES[thing], "What is it?")
    (message,) = m.backend.calls[0].messages
    (image,) = message.images
    assert isinstance(image, ImageBlock)
    assert "[image]" in message.content
    assert BLOCK.value not in message.content
    assert "example.org" not in message.content


def test_an_image_among_named_parts_is_not_spelled(fake: Any) -> None:
    m = fake("a red one")
    m.act(SimpleComponent(task="Look.", scan=BLOCK, said=Message("user", "Hi.", images=BLOCK)))
    (message,) = m.backend.calls[0].messages
    assert message.content == '{"task": "Look.", "scan": "[image]", "said": "Hi."}'
    assert message.images == (BLOCK, BLOCK)


def test_the_verbs_take_any_source_of_an_image(fake: Any, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    m = fake("a cat")
    m.instruct("What is this?", images=[Image.open(file), file, PNG, "https://example.org/cat.png"])
    m.chat("And this?", images=[str(file)])
    assert [len(call.messages[0].images) for call in m.backend.calls] == [4, 1]


def test_a_wrong_image_is_refused_at_the_call(fake: Any) -> None:
    m = fake("a cat")
    with pytest.raises(InvalidArgument, match="float is not an image"):
        m.instruct("What is this?", images=[1.5])
    assert m.backend.calls == []


def test_pillow_is_not_imported_for_a_message(ran: Any) -> None:
    program = """
        import sys
        from mellea_like import Message, start_session
        with start_session("fake", answers="a cat") as m:
            m.act(Message("user", "What is this?", images=["https://example.org/cat.png"]))
        print("PIL" in sys.modules)
    """
    assert ran(program) == "False\n"
