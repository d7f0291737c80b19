# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""A component with a template file beside it: the dataclass's fields are the template's variables.

    uv run docs/examples/components/template_file.py
    uv run docs/examples/components/template_file.py --backend fake     # scripted, no model

The template is `templates/Recipe.jinja2`, beside this file. Edit it and run again.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from mellea_like import TemplateComponent, TemplateError, start_session


@dataclass(frozen=True)
class Recipe(TemplateComponent):
    """A wish for a recipe; `ingredients` may hold thunks."""

    dish: str
    ingredients: Sequence[object] = ()

    def parse(self, text: str) -> list[str]:
        """List the lines of the answer that say something."""
        return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class Lost(TemplateComponent):
    """A component whose template somebody forgot."""

    dish: str


def main(backend: str | None) -> None:
    with start_session(backend, model_options={"max_new_tokens": 80}) as m:
        print(f"# {m!r}\n")
        herb = m.instruct("Name one herb, in one word.", await_result=False)
        recipe = Recipe("soup", ["carrots", herb])
        print(recipe.parse(m.act(recipe).value))
        try:
            m.act(Lost("soup"))
        except TemplateError as error:
            print(error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        main(parser.parse_args().backend)
    except KeyboardInterrupt:
        print("\n(stopped)")
