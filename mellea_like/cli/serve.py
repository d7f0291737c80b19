"""`mellea-like serve`: an HTTP server over a model, a program or a graph, with OpenAI's protocol and a page."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidArgument, MissingPackage

if TYPE_CHECKING:
    from ..server.limits import Access, ServerLimits

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

KEY_VARIABLE = "MELLEA_LIKE_API_KEY"

_LAST_PORT = 65_535


def add_to(commands: Commands) -> None:
    """Add the command `serve` to the command line."""
    parser = commands.add_parser("serve", help="serve a model, a program or a graph over HTTP, with a page")
    parser.add_argument(
        "target",
        nargs="?",
        help="program.py with `serve(messages)`, graph.yaml, module:name, or a model such as ollama:llama3.2; "
        "the default model where nothing is given",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument("--system", help="what the model is told first, where a client tells it nothing")
    parser.add_argument("--require", action="append", default=[], metavar="TEXT", help="what every answer must satisfy")
    parser.add_argument("--input-key", metavar="KEY", help="of a graph's state, for the text of the last turn (input)")
    # Not as an argument itself: everybody on the machine can read those.
    parser.add_argument("--api-key-file", metavar="FILE", help=f"API keys, one a line (or one in {KEY_VARIABLE})")
    parser.add_argument("--allow-public", action="store_true", help="listen publicly without a key")
    parser.add_argument("--cors", action="append", default=[], metavar="ORIGIN", help="let pages of this origin ask")
    parser.add_argument("--running", type=int, default=8, metavar="N", help="generations at once (default: 8)")
    parser.add_argument("--waiting", type=int, default=64, metavar="N", help="that wait; beyond is 429 (default: 64)")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="for one generation (600)")
    parser.add_argument("--max-body", type=float, default=10.0, metavar="MB", help="of a request (default: 10)")
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="for streams to end at the end (no limit)")
    parser.add_argument("--verbose", "-v", action="store_true", help="log each request's path, status and time")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.port <= _LAST_PORT:
        raise InvalidArgument(f"--port is {arguments.port}; ports go from 1 to {_LAST_PORT}, and 0 takes a free one.")
    try:
        from ..server import app, loading, running  # starlette and uvicorn, which no other command needs
    except ImportError as error:
        raise MissingPackage(
            f"`mellea-like serve` needs the package {error.name!r}: pip install 'mellea-like[serve]'."
        ) from error
    access, limits = _access(arguments), _limits(arguments)
    running.refuse_public(arguments.host, has_key=bool(access.keys), forced=arguments.allow_public)
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    bound = running.bound_socket(arguments.host, arguments.port)
    with bound:
        answerer = loading.answerer_named(
            arguments.target,
            system=arguments.system,
            requirements=arguments.require,
            input_key=arguments.input_key,
            threads=limits.running,
        )
        served = app.application(answerer, limits, access)
        print(f"Serving {answerer.models[0]} at {running.address_of(bound)} (Ctrl-C ends it)", flush=True)
        running.server_of(served, grace=arguments.grace, log_level=level).run(sockets=[bound])
    return 0


def _limits(arguments: argparse.Namespace) -> ServerLimits:
    from ..server.limits import ServerLimits

    return ServerLimits(
        running=arguments.running,
        waiting=arguments.waiting,
        timeout=arguments.timeout,
        body_bytes=int(arguments.max_body * 1024 * 1024),
    )


def _access(arguments: argparse.Namespace) -> Access:
    from ..server.limits import Access
    from ..server.running import LOOPBACK_NAMES, is_loopback

    keys = _keys(arguments.api_key_file)
    local = is_loopback(arguments.host)
    return Access(
        keys=keys,
        origins=arguments.cors,
        hosts=(*LOOPBACK_NAMES, arguments.host) if local else (),
        told=local,
    )


def _keys(path: str | None) -> list[str]:
    keys = [os.environ[KEY_VARIABLE]] if os.environ.get(KEY_VARIABLE) else []
    if path is None:
        return keys
    try:
        found = [line.strip() for line in Path(path).read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise InvalidArgument(f"The key file {path!r} cannot be read: {error.strerror}.") from error
    if not found:
        raise InvalidArgument(f"The key file {path!r} holds no key.")
    return keys + found
