"""How each peer reads a stream and asks for a whole answer, in the way that its own documentation shows.

A reader is named as in the table; a peer is imported by its own reader alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, NamedTuple

from wire_clients import (
    MESSAGES,
    PROMPT,
    Ours,
    Stream,
    httpx_stream,
    huggingface_stream,
    ollama_stream,
    openai_call,
    openai_stream,
)


class Readers(NamedTuple):
    """What a peer does here: read a stream, and, where it is asked to, await a whole answer."""

    stream: Stream
    call: Stream | None = None


Opening = Callable[[str], AbstractAsyncContextManager[Readers]]


def ours(provider: str, path: str) -> Opening:
    """Open this library on one of its wires."""

    @asynccontextmanager
    async def opening(address: str) -> AsyncIterator[Readers]:
        async with Ours(provider, address + path) as library:
            yield Readers(library.stream, library.call)

    return opening


@asynccontextmanager
async def openai_alone(address: str) -> AsyncIterator[Readers]:
    import openai

    async with openai.AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
        yield Readers(openai_stream(client), openai_call(client))


@asynccontextmanager
async def openai_aiohttp(address: str) -> AsyncIterator[Readers]:
    import openai

    transport = openai.DefaultAioHttpClient()
    url = f"{address}/v1"
    async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=transport) as client:
        yield Readers(openai_stream(client), openai_call(client))


@asynccontextmanager
async def raw_httpx(address: str) -> AsyncIterator[Readers]:
    import httpx2

    async with httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=None)) as client:
        yield Readers(httpx_stream(client, address))


@asynccontextmanager
async def ollama_alone(address: str) -> AsyncIterator[Readers]:
    import ollama

    client = ollama.AsyncClient(host=address)
    try:
        yield Readers(ollama_stream(client))
    finally:
        await client.close()


@asynccontextmanager
async def huggingface_alone(address: str) -> AsyncIterator[Readers]:
    from huggingface_hub import AsyncInferenceClient

    async with AsyncInferenceClient(base_url=f"{address}/v1", api_key="none") as client:
        yield Readers(huggingface_stream(client))


@asynccontextmanager
async def mellea(address: str) -> AsyncIterator[Readers]:
    from mellea import MelleaSession
    from mellea.backends import ModelOption
    from mellea.backends.openai import OpenAIBackend
    from mellea.stdlib.context import SimpleContext

    @cache
    def session(how: str) -> MelleaSession:
        backend = OpenAIBackend(model_id=how, base_url=f"{address}/v1", api_key="none")
        return MelleaSession(backend, ctx=SimpleContext())

    async def stream(count: int, how: str) -> int:
        size = 0
        options = {ModelOption.STREAM: True, ModelOption.MAX_NEW_TOKENS: count}
        thunk = await session(how).ainstruct(PROMPT, strategy=None, model_options=options, await_result=False)
        while not thunk.is_computed():
            size += len(await thunk.astream())
        return size

    async def call(count: int, how: str) -> int:
        return len(str(await session(how).ainstruct(PROMPT, model_options={ModelOption.MAX_NEW_TOKENS: count})))

    yield Readers(stream, call)


@asynccontextmanager
async def pydantic_ai(address: str) -> AsyncIterator[Readers]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=f"{address}/v1", api_key="none")

    @cache
    def agent(how: str) -> Agent[None, str]:
        return Agent(OpenAIChatModel(how, provider=provider))

    async def stream(count: int, how: str) -> int:
        size = 0
        async with agent(how).run_stream(PROMPT, model_settings={"max_tokens": count}) as result:
            async for delta in result.stream_text(delta=True, debounce_by=None):
                size += len(delta)
        return size

    async def call(count: int, how: str) -> int:
        return len((await agent(how).run(PROMPT, model_settings={"max_tokens": count})).output)

    yield Readers(stream, call)


@asynccontextmanager
async def langgraph(address: str) -> AsyncIterator[Readers]:
    from langchain_core.runnables import RunnableConfig
    from langchain_openai import ChatOpenAI
    from langgraph.graph import END, START, MessagesState, StateGraph

    @cache
    def graph(how: str) -> Any:
        model = ChatOpenAI(model=how, base_url=f"{address}/v1", api_key="none", max_retries=0)

        # Not annotated: the graph reads annotations as types, and cannot see those that are imported in here.
        async def say(state, config):  # type: ignore[no-untyped-def]
            asked = model.bind(max_tokens=config["configurable"]["count"])
            return {"messages": [await asked.ainvoke(state["messages"], config)]}

        built = StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").add_edge("say", END)
        return built.compile()

    def configured(count: int) -> RunnableConfig:
        return {"configurable": {"count": count}}

    async def stream(count: int, how: str) -> int:
        size = 0
        asked = {"messages": MESSAGES}
        async for message, _ in graph(how).astream(asked, configured(count), stream_mode="messages"):
            size += len(message.content)
        return size

    async def call(count: int, how: str) -> int:
        done = await graph(how).ainvoke({"messages": MESSAGES}, configured(count))
        return len(done["messages"][-1].content)

    yield Readers(stream, call)


@asynccontextmanager
async def litellm(address: str) -> AsyncIterator[Readers]:
    import litellm as peer

    def asked(count: int, how: str) -> dict[str, Any]:
        where = {"api_base": f"{address}/v1", "api_key": "none", "max_retries": 0}
        return {"model": f"openai/{how}", "messages": MESSAGES, "max_tokens": count, **where}

    async def stream(count: int, how: str) -> int:
        size = 0
        async for chunk in await peer.acompletion(**asked(count, how), stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                size += len(text)
        return size

    async def call(count: int, how: str) -> int:
        return len((await peer.acompletion(**asked(count, how))).choices[0].message.content)

    yield Readers(stream, call)


OPENINGS: dict[str, Opening] = {
    "this library": ours("openai", "/v1"),
    "openai": openai_alone,
    "openai, aiohttp": openai_aiohttp,
    "httpx2 + json": raw_httpx,
    "Mellea": mellea,
    "pydantic-ai": pydantic_ai,
    "LangGraph, messages": langgraph,
    "litellm": litellm,
    "this library, Ollama": ours("ollama", ""),
    "ollama": ollama_alone,
    "this library, Hugging Face": ours("huggingface", "/v1"),
    "huggingface_hub": huggingface_alone,
}
