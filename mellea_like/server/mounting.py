"""The server as an ASGI application; without Starlette this can be imported, and says what to install."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingPackage
from .answering import Answerer
from .limits import Access, ServerLimits

if TYPE_CHECKING:
    from starlette.applications import Starlette


def asgi_app(answerer: Answerer, *, limits: ServerLimits | None = None, access: Access | None = None) -> Starlette:
    """Build the server as an ASGI application, to be run by uvicorn or mounted in another application.

    Args:
        answerer: What answers; see `answerer_of`. The application closes it when it shuts down.
        limits: What the server allows; None for the defaults.
        access: Who may ask; None for everybody.

    Raises:
        MissingPackage: Starlette is not installed.

    Example:
        ```python
        from mellea_like import answerer_of, asgi_app, start_session

        app = asgi_app(answerer_of(start_session("fake", answers="Hello!")))
        print([route.path for route in app.routes][:2])
        ```
    """
    try:
        from .app import application
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise MissingPackage(f"`asgi_app` needs the package {package!r}: pip install 'mellea-like[serve]'.") from error
    return application(answerer, limits or ServerLimits(), access or Access())
