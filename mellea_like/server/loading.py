"""What is served, from its name: a program, a graph in a file, an object in a module, or a model."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backends import Backend, backend_names
from ..errors import InvalidArgument, MissingPackage
from ..graph.building import StateGraph
from ..graph.compiled import CompiledGraph
from ..session import MelleaSession
from ..session.functional import Requirements
from ..session.opening import start_session
from .answering import Answerer, ModelAnswerer, ProgramAnswerer
from .graphs import GraphAnswerer

_YAML = {".yaml", ".yml"}


def answerer_named(
    target: str | None,
    *,
    system: str | None = None,
    requirements: Requirements = (),
    input_key: str | None = None,
    threads: int = 8,
) -> Answerer:
    """Find what is to be served.

    Args:
        target: `program.py` (its `serve`, or its `graph`), `graph.yaml`, `module:name` (a function, graph, session or
            backend), or a model (`"ollama:llama3.2"`). None takes the default model.
        system: What a model is told first, where a client tells it nothing.
        requirements: What a model's answers must satisfy.
        input_key: The key of a graph's state that gets the text of the last turn; None for `input`.
        threads: How many synchronous calls of a program run at once.

    Raises:
        InvalidArgument: there is no such file, module or name, or it cannot be served.
        UnknownName: there is no such backend.
    """
    if target is not None and Path(target).suffix in {".py", *_YAML}:
        found, name = _in_file(Path(target)), Path(target).stem
    elif target is not None and ":" in target and target.partition(":")[0] not in backend_names():
        found, name = _in_module(target), target.partition(":")[2]
    else:
        found, name = start_session(target), ""
    return answerer_of(found, name=name, system=system, requirements=requirements, input_key=input_key, threads=threads)


def answerer_of(
    served: Any,
    *,
    name: str = "",
    system: str | None = None,
    requirements: Requirements = (),
    input_key: str | None = None,
    threads: int = 8,
) -> Answerer:
    """Make an answerer of a session, a backend, a graph, or a function `serve(messages, …)`.

    Args:
        served: What is served.
        name: What `/v1/models` lists for a function or a graph; empty for its own name.
        system: As for `answerer_named`.
        requirements: As for `answerer_named`.
        input_key: As for `answerer_named`.
        threads: As for `answerer_named`.

    Raises:
        InvalidArgument: it cannot be served.
    """
    if isinstance(served, Backend):
        served = MelleaSession(served, owns_backend=True)
    if isinstance(served, MelleaSession):
        return ModelAnswerer(served, requirements=requirements, system=system)
    if requirements or system is not None:
        raise InvalidArgument("Requirements and a system text go with a model; a program or a graph has its own.")
    if isinstance(served, StateGraph):
        served = served.compile()
    if isinstance(served, CompiledGraph):
        return GraphAnswerer(served, name=name or served.spec.name, input_key=input_key)
    if callable(served):
        return ProgramAnswerer(served, name=name or getattr(served, "__name__", "program"), threads=threads)
    raise InvalidArgument(
        f"{type(served).__name__} cannot be served: {served!r}. Give a session, a backend, a graph, or a function "
        "`serve(messages)`."
    )


def _in_file(path: Path) -> Any:
    if not path.is_file():
        raise InvalidArgument(f"There is no file {str(path)!r} to serve.")
    if path.suffix in _YAML:
        from ..graph.yaml_loading import load_graph  # YAML, which nothing else here needs

        return load_graph(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # as `python program.py` has it
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return _first_of(module, ("serve", "graph", "session"), str(path))


def _in_module(target: str) -> Any:
    module, _, name = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if isinstance(error, MissingPackage) or error.name != module.partition(".")[0]:
            raise
        raise InvalidArgument(
            f"There is no module {module!r} and no backend of that name (backends: {', '.join(backend_names())})."
        ) from error
    return _first_of(found, (name,), module)


def _first_of(module: Any, names: Sequence[str], where: str) -> Any:
    for name in names:
        if hasattr(module, name):
            return getattr(module, name)
    wanted = " or ".join(f"`{name}`" for name in names)
    raise InvalidArgument(
        f"{where} defines no {wanted}. Write `def serve(messages): …`, which returns text, a Message or a thunk."
    )
