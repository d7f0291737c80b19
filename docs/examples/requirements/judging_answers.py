# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Requirements: sentences, functions, ready-made ones, a model as the judge, and judging while an answer grows.

uv run docs/examples/requirements/judging_answers.py
uv run docs/examples/requirements/judging_answers.py --backend fake     # scripted, no model
"""

import argparse

from mellea_like import (
    Chunk,
    MelleaSession,
    Request,
    ValidationResult,
    check,
    req,
    requires,
    simple_validate,
    start_session,
)


def polite(text: str) -> tuple[bool, str]:
    """Judge an answer's text: whether it is good, and why not."""
    return "please" in text.lower(), "There is no 'please' in it."


def brief(chunk: Chunk) -> tuple[bool, str]:
    """Judge one sentence as soon as it is whole; the attempt is stopped at the first that is too long."""
    return len(chunk.split()) <= 20, f"Sentence {chunk.number + 1} is too long."


RULES = [
    req("Be polite.", simple_validate(polite)),  # told to the model, judged by a function
    check("brief", brief, chunking="sentence"),  # judged while it grows, never told to the model
    requires.length(max=60),  # ready-made
    "It is a request.",  # judged by a model: yes or no
]


def show(verdicts: tuple[ValidationResult, ...] | list[ValidationResult]) -> None:
    for verdict in verdicts:
        print(f"  {'+' if verdict else '-'} {verdict.requirement} {verdict.reason or ''}")


def run(m: MelleaSession) -> None:
    print(f"# {m.backend!r}\n\n# A call with requirements: two attempts at most, unless a strategy says otherwise")
    answer = m.instruct("Ask a neighbour to turn down the music, in one sentence.", requirements=RULES)
    print(f"{answer.value}\n  success: {answer.success}, attempts: {len(answer.samples)}")
    show(answer.validations)

    print("\n# Judging a text that is there already")
    show(m.validate(RULES[:3], output="Turn it down."))


def scripted(request: Request) -> str:
    """Answer as the fake model: as a judge, and as a writer that learns to say please."""
    if "Does the text meet" in request.messages[-1].content:
        return "yes"
    scripted.asked = getattr(scripted, "asked", 0) + 1
    return "Turn it down." if scripted.asked == 1 else "Please turn the music down."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    backend = parser.parse_args().backend
    script = {"answers": scripted} if backend == "fake" else {}
    with start_session(backend, **script, model_options={"max_new_tokens": 60}) as session:
        run(session)
