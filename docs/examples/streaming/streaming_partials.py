# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Watch a typed answer grow: which fields are missing, open or done; and take the items of a list as they close.

    uv run docs/examples/streaming/streaming_partials.py
    uv run docs/examples/streaming/streaming_partials.py --backend fake     # scripted, no model

Without `--backend` the answers come from a small model inside this process, held to the JSON schema of the type. Its
weights (93 MB) are fetched once, at the first run.
"""

import argparse
import asyncio
import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mellea_like import Answer, OutputParseError, start_session


class Recipe(BaseModel):
    """What the first answer is to be."""

    title: Annotated[str, Field(max_length=60)]
    minutes: Annotated[int, Field(ge=1, le=600)]
    difficulty: Literal["easy", "hard"]
    steps: Annotated[list[Annotated[str, Field(max_length=60)]], Field(min_length=2, max_length=3)]


class City(BaseModel):
    """What the second answer is a list of."""

    name: Annotated[str, Field(max_length=30)]
    country: Annotated[str, Field(max_length=30)]


RECIPE = '{"title": "Pancakes", "minutes": 25, "difficulty": "easy", "steps": ["Stir.", "Bake.", "Eat."]}'
CITIES = '[{"name": "Lisbon", "country": "Portugal"}, {"name": "Oslo", "country": "Norway"}]'
WRONG = '{"title": "Pancakes", "minutes": "a while", "difficulty": "easy", "steps": []}'


def scripted(text: str) -> Answer:
    """Script an answer in small deltas, at a pace that can be watched."""
    return Answer(re.findall(r"\w+|\W", text), delay=0.01)


async def main(backend: str | None) -> None:
    script = {"answers": [scripted(RECIPE), scripted(CITIES), scripted(WRONG)]} if backend == "fake" else {}
    async with start_session(backend, **script, model_options={"max_new_tokens": 300, "temperature": 0}) as m:
        print(f"# {m!r}\n")

        print("# 1. `partials()` gives the object so far; nothing is shown that more text could change.")
        thunk = await m.ainstruct("Write a recipe for pancakes.", format=Recipe, await_result=False)
        before = {}
        async for partial in thunk.partials():
            states = {name: part.state for name, part in partial.fields().items()}
            if states != before:  # a delta of a long text changes no state
                print(" ".join(f"{name}:{state}" for name, state in states.items()), "|", partial.so_far)
            before = states
        recipe = (await thunk).parsed
        print(f"-> {recipe.title!r}, {recipe.minutes} minutes, {len(recipe.steps)} steps")

        print("\n# 2. `items()` gives each item of a list, validated, as soon as it closes.")
        cities = await m.ainstruct("Name two cities.", format=list[City], await_result=False)
        try:
            async for city in cities.items():
                print(f"-> {city.name} in {city.country}, after {len(cities.partial_text)} characters")
        except OutputParseError as error:  # such as a list that the token limit cut off: what came was shown
            print(f"(cut short: {error})")

        if backend != "fake":
            return
        print("\n# 3. A field that is wrong says so when it closes; here, that is reason enough to stop.")
        async with await m.ainstruct("Write a recipe.", format=Recipe, await_result=False) as thunk:
            async for partial in thunk.partials():
                if error := partial["minutes"].error:
                    print(f"-> stopped after {len(thunk.partial_text)} characters: {error}")
                    break
        print(f"-> {thunk.state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        asyncio.run(main(parser.parse_args().backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
