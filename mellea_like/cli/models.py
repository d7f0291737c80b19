"""`mellea-like models`: what the cache of fetched models holds, and how it is filled and emptied."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..backends import _weights

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(commands: Commands) -> None:
    """Add the command `models` and its verbs to the command line."""
    parser = commands.add_parser("models", help="list, pull or remove the models that run in the process")
    verbs = parser.add_subparsers(title="verbs", metavar="verb", required=True)

    listing = verbs.add_parser("list", help="show each model's name, size, state and file")
    listing.set_defaults(run=_list)

    pull = verbs.add_parser("pull", help="fetch a model, or repair it")
    pull.add_argument("model", nargs="?", default="", help="a name, or hf:owner/repository/file.gguf")
    pull.set_defaults(run=_pull)

    remove = verbs.add_parser("remove", help="delete a fetched model")
    remove.add_argument("model", nargs="?", default="", help="a name from the list")
    remove.set_defaults(run=_remove)


def _list(_: argparse.Namespace) -> int:
    width = max(len(w.name) for w in _weights.CATALOGUE)
    for weights in _weights.CATALOGUE:
        size = f"{weights.size / 1e6:,.0f} MB"
        print(f"{weights.name:{width}}  {size:>9}  {_weights.state(weights):6}  {weights.path}")
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    print(_weights.resolve_weights(arguments.model))
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    weights = _weights.named_weights(arguments.model)
    print(f"{'Removed' if _weights.remove(weights) else 'There is no'} {weights.path}")
    return 0
