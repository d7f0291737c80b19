# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Ask a model about documents and objects of your own, and hand answers on before they are there.

    uv run docs/examples/components/objects.py
    uv run docs/examples/components/objects.py --backend fake     # scripted, no model

Without `--backend` the answers come from a small model inside this process. Its weights (93 MB) are fetched once, at
the first run.
"""

import argparse
from dataclasses import dataclass

from mellea_like import Document, Query, SimpleComponent, Transform, mify, start_session


@mify(fields_include={"table"}, template="{{ table }}")
class Sales:
    """A class of your own: what the model sees of it is chosen, and its documented methods go along."""

    table: str = "| store | sales |\n| north | 250 |\n| south | 80 |"

    def total(self) -> int:
        """Add up the sales of all stores."""
        return sum(int(row.split("|")[2]) for row in self.table.splitlines()[1:])


@dataclass
class Person:
    """A class that knows nothing of models; it is left as it is."""

    name: str
    born: int
    password: str = "secret"


def main(backend: str | None) -> None:
    with start_session(backend, model_options={"max_new_tokens": 60}) as m:
        print(f"# {m!r}\n")

        print("# A document grounds an instruction.")
        report = Document("In May, sales rose by 4 %.", title="Report", doc_id="r1")
        print(m.instruct("By how much did sales rise?", grounding_context={"report": report}), "\n")

        print("# A class with @mify is asked about; a transform offers its methods as tools.")
        print(m.act(Query(Sales(), "How much did the north sell?")), "\n")
        change = Sales().get_transform_object("Add up the sales.")
        print({name: tool() for name, tool in change.tools().items()}, "\n")

        print("# Any object can be asked about; what it must not show is left out.")
        ana = mify(Person("Ana", 1990), fields_exclude={"password"})
        print(m.act(Query(ana, "When was she born?")))
        print(m.act(Transform(ana, "Make her ten years older.")), "\n")

        print("# A thunk is a part like any other: it is awaited when it is needed, two of them at once.")
        poems = [m.instruct(f"Write one line about {of}.", await_result=False) for of in ("the sea", "a lamp")]
        print(m.act(SimpleComponent(task="Which of these lines is better?", lines=poems)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        main(parser.parse_args().backend)
    except KeyboardInterrupt:
        print("\n(stopped)")
