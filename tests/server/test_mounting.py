"""The server in a core install: what can be imported without Starlette, and what says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

OPTIONAL = ("starlette", "uvicorn", "rich", "prompt_toolkit", "mcp", "opentelemetry")
"""What the extras bring."""


def core(program: str) -> str:
    """Run a program where no extra is installed, and return what it prints."""
    without = f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL!r}))\n"
    done = subprocess.run([sys.executable, "-c", without + program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("statement", ["from mellea_like import asgi_app", "from mellea_like import *"])
def test_the_application_names_the_extra_that_it_needs(statement: str) -> None:
    program = """
from mellea_like import MissingPackage, answerer_of, start_session
try:
    asgi_app(answerer_of(start_session("fake")))
except MissingPackage as error:
    print(error)
"""
    said = core(f"{statement}{program}")
    assert said == "`asgi_app` needs the package 'starlette': pip install 'mellea-like[serve]'.\n"
