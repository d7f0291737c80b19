"""The server's routes, as an ASGI application: OpenAI's protocol, runs and their events, a page, what is served."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..content import Message
from ..encoding import Encoder
from ..encoding.sse import SSEEncoder, SSETextEncoder
from ..errors import MelleaError, RequestRejected
from .answering import Answerer
from .asked import Asked, read_request
from .bodies import body_of
from .completions import Completions
from .generations import Generations
from .guard import Guard
from .limits import Access, ServerLimits
from .openapi import document
from .refusals import refusal
from .requests import ChatRequest, RunRequest, asked_by
from .response_requests import ResponseRequest
from .responses_api import Responses
from .runs import KeptRun, Runs
from .streaming import Batches, FrameStream, encoded, unless_gone, with_pings
from .telling import Telling, told

PAGE = {"/": "index.html", "/page/style.css": "style.css", "/page/chat.js": "chat.js"}
_MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_CLIENT_LEFT = 499
_ROUTE_CODES = {404: "not_found", 405: "method_not_allowed"}


class _Routes:
    """The endpoints, over one answerer."""

    def __init__(self, answerer: Answerer, limits: ServerLimits, access: Access) -> None:
        self.answerer = answerer
        self.limits = limits
        self.generations = Generations(answerer, limits)
        self.runs = Runs(kept=limits.kept_runs, linger=limits.linger)
        telling = Telling(self.generations, all_told=access.told)
        self.completions = Completions(telling)
        self.responses = Responses(telling)
        self.events = SSEEncoder(error_text=telling.error_text)
        self.text = SSETextEncoder(error_text=telling.error_text)

    # --- OpenAI's ---------------------------------------------------------------------------------------------------

    async def chat_completions(self, request: Request) -> Response:
        asked = read_request(await body_of(request, self.limits), ChatRequest)
        if (asked.n or 1) > self.limits.choices:
            raise RequestRejected(
                f"n is {asked.n}; this server gives at most {self.limits.choices} answers to one request.",
                status=400,
                code="invalid_value",
                param="n",
            )
        answer = await self.completions.answer(asked, request.receive)
        return Response(status_code=_CLIENT_LEFT) if answer is None else answer

    async def create_response(self, request: Request) -> Response:
        asked = read_request(await body_of(request, self.limits), ResponseRequest)
        answer = await self.responses.answer(asked, request.receive)
        return Response(status_code=_CLIENT_LEFT) if answer is None else answer

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self.answerer.models]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name not in self.answerer.models:
            listing = ", ".join(map(repr, self.answerer.models))
            raise RequestRejected(
                f"There is no model {name[:100]!r}. Valid: {listing}.", status=404, code="model_not_found"
            )
        return JSONResponse(self._model(name))

    def _model(self, name: str) -> dict[str, object]:
        graph = self.answerer.graph is not None
        return {"id": name, "object": "model", "created": 0, "owned_by": "mellea-like", "graph": graph}

    # --- runs -------------------------------------------------------------------------------------------------------

    async def create_run(self, request: Request) -> Response:
        wanted = read_request(await body_of(request, self.limits), RunRequest)
        run = await self._started(request, asked_by(wanted))
        if run is None:
            return Response(status_code=_CLIENT_LEFT)
        if wanted.stream:
            return self._stream(run)
        with run.reading():  # nobody reads yet: unless somebody comes, it is stopped after a while
            pass
        return JSONResponse(_described(run), status_code=201, headers={"Location": f"/v1/runs/{run.id}"})

    async def run(self, request: Request) -> Response:
        run = self.runs.get(request.path_params["run"])
        if request.method == "DELETE":
            await run.thunk.cancel()
        return JSONResponse(_described(run))

    async def run_events(self, request: Request) -> Response:
        run = self.runs.get(request.path_params["run"])
        return self._stream(run, after=_last_event(request))

    async def stream(self, request: Request) -> Response:
        prompt = request.query_params.get("prompt", "")
        if not prompt:
            raise RequestRejected("Give a prompt: /stream?prompt=hello.", code="invalid_value", param="prompt")
        after = _last_event(request)
        if after >= 0:
            found, seq = self.runs.located(after)
            if found is None or self._has_had_all(found, seq):
                return Response(status_code=204)  # so that an EventSource does not come again
            return self._text(found, after=seq)
        run = await self._started(request, Asked(messages=(Message("user", prompt),)))
        return Response(status_code=_CLIENT_LEFT) if run is None else self._text(run)

    async def _started(self, request: Request, asked: Asked) -> KeptRun | None:
        thunk = await unless_gone(request.receive, lambda: self.generations.start(asked))
        return None if thunk is None else self.runs.add(thunk)

    def _stream(self, run: KeptRun, *, after: int = -1) -> Response:
        batches = with_pings(Batches(run.thunk, after=after), self.limits.ping)
        return _framed(run, encoded(batches, self.events, number=int), self.events)

    def _text(self, run: KeptRun, *, after: int = -1) -> Response:
        live: str | None = (self.answerer.graph or {}).get("answer")
        batches = told(run.thunk, live=live, every=self.limits.ping, after=after)
        return _framed(run, encoded(batches, self.text, number=run.event_number), self.text)

    def _has_had_all(self, run: KeptRun, seq: int) -> bool:
        log = run.thunk._log
        return run.thunk.done() and not any(self.text.encode(log.event(i), i) for i in range(seq + 1, len(log)))

    # --- about the server -------------------------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        places = self.generations.places
        return JSONResponse({"status": "ok", "running": places.running, "waiting": places.waiting})

    async def graph(self, request: Request) -> Response:
        if self.answerer.graph is None:
            raise RequestRejected("No graph is served here.", status=404, code="no_graph")
        return JSONResponse(self.answerer.graph)

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(document(self.limits.choices))

    async def page(self, request: Request) -> Response:
        name = PAGE[request.url.path]
        text = (files(__package__) / "page" / name).read_bytes()
        return Response(text, media_type=_MEDIA_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
            Route("/v1/responses", self.create_response, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{model:path}", self.model, methods=["GET"]),
            Route("/v1/runs", self.create_run, methods=["POST"]),
            Route("/v1/runs/{run}", self.run, methods=["GET", "DELETE"]),
            _read_route("/v1/runs/{run}/events", self.run_events),
            Route("/v1/graph", self.graph, methods=["GET"]),
            _read_route("/stream", self.stream),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            *(Route(path, self.page, methods=["GET"]) for path in PAGE),
        ]


def application(answerer: Answerer, limits: ServerLimits, access: Access) -> Starlette:
    """Build the application; see `asgi_app`."""
    routes = _Routes(answerer, limits, access)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await routes.generations.aclose()

    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(access.origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["X-Run-Id", "Retry-After", "Location"],
    )
    return Starlette(
        routes=routes.routes(),
        middleware=[*([cors] if access.origins else []), Middleware(Guard, access=access)],
        exception_handlers={
            MelleaError: lambda _, error: refusal(error, told=access.told),
            HTTPException: _refused_route,
            ClientDisconnect: lambda _, error: Response(status_code=_CLIENT_LEFT),
        },
        lifespan=lifespan,
    )


def _read_route(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    """Build a route for GET alone; Starlette answers HEAD by GET's endpoint, which here is to work for nobody."""
    route = Route(path, endpoint, methods=["GET"])
    route.methods = {"GET"}
    return route


def _framed(run: KeptRun, frames: AsyncGenerator[bytes, None], encoder: Encoder) -> Response:
    async def read() -> AsyncGenerator[bytes, None]:
        with run.reading():
            async with aclosing(frames):
                async for frame in frames:
                    yield frame

    return FrameStream(read(), media_type=encoder.media_type, headers={**encoder.headers, "X-Run-Id": run.id})


def _refused_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = RequestRejected(
        f"{error.detail}: {request.method} {request.url.path[:100]}.",
        status=error.status_code,
        code=_ROUTE_CODES.get(error.status_code),
    )
    answer = refusal(said, told=True)
    answer.headers.update(error.headers or {})
    return answer


def _described(run: KeptRun) -> dict[str, object]:
    thunk = run.thunk
    return {"id": run.id, "object": "run", "state": thunk.state, "attempt": thunk.attempt, "success": thunk.success}


def _last_event(request: Request) -> int:
    """Return the number of the last event that the reader has had, -1 for none."""
    text = request.headers.get("last-event-id") or request.query_params.get("after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 40 else -1
