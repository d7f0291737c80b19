# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Show a model an image: a file, an address, bytes, or an image of Pillow's.

    uv run docs/examples/components/images.py
    uv run docs/examples/components/images.py --backend ollama:llava cat.png https://example.org/dog.png

It needs a model that can see; without `--backend`, a scripted one says what it was sent.
"""

import argparse
import base64

from mellea_like import InvalidArgument, Request, make_image_block, start_session

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


def seen(request: Request) -> str:
    """Say what a request shows, as a model would that describes images by their kind."""
    return f"I see {list(request.messages[-1].images)}."


def main(backend: str, sources: list[str]) -> None:
    script = {"answers": seen} if backend == "fake" else {}
    with start_session(backend, **script) as m:
        print(f"# {m!r}\n")
        print(m.instruct("What is on these images?", images=sources or [DOT, "https://example.org/cat.png"]))
        try:
            make_image_block("no/such/file.png")
        except InvalidArgument as error:
            print(error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", help="files or addresses; default: a dot and an address")
    parser.add_argument("--backend", default="fake", help="a backend, or 'backend:model', that can see")
    arguments = parser.parse_args()
    main(arguments.backend, arguments.sources)
