"""Opening a session: choosing a backend, a model and a context. The one place that looks at the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from ..backends import Backend, backend_class
from ..context import CONTEXTS, Context
from ..errors import InvalidArgument, unknown_name
from ..models import ModelIdentifier
from . import MelleaSession

DEFAULT_MODEL_VARIABLE = "MELLEA_LIKE_MODEL"
DEFAULT_BACKEND = "llamacpp"


def start_session(
    backend_name: str | None = None,
    model_id: str | ModelIdentifier | None = None,
    *,
    ctx: Context | None = None,
    context_type: Literal["simple", "chat"] | None = None,
    model_options: Mapping[str, Any] | None = None,
    **backend_options: Any,
) -> MelleaSession:
    """Start a session: choose a backend, a model and a context.

    Nothing is opened yet: the first call connects, or loads the model. Only where no backend is named, it is looked
    whether an Ollama server answers on this machine.

    Args:
        backend_name: A backend's name, or `"backend:model"`. None takes what the environment variable
            `MELLEA_LIKE_MODEL` names, else an Ollama server that answers on this machine and has a model, else the
            model that runs inside this process. What was chosen is in the session's `repr`.
        model_id: The model as the backend knows it, or one of `model_ids`; None for the backend's default.
        ctx: The context to start from; None starts an empty one of `context_type`.
        context_type: `"simple"` (no history, the default) or `"chat"`.
        model_options: Options for every call: `ModelOption` names or plain keys.
        backend_options: What the backend's constructor takes, such as `base_url`, `api_key` or `timeout`.

    Returns:
        A session that owns its backend: leaving its `with` block closes both.

    Raises:
        UnknownName: there is no such backend, context type, model option or backend option.
        InvalidArgument: both `ctx` and `context_type`, or two models, were given, or `ctx` is no context.

    Example:
        ```python
        from mellea_like import start_session

        with start_session("fake", answers="Hello!") as m:
            print(m.instruct("Say hello.").value)
        ```

    Source: Mellea's `start_session`, https://mellea.ai
    """
    context, backend = start_backend(
        backend_name,
        model_id,
        ctx=ctx,
        context_type=context_type,
        model_options=model_options,
        **backend_options,
    )
    return MelleaSession(backend, context, owns_backend=True)


def start_backend(
    backend_name: str | None = None,
    model_id: str | ModelIdentifier | None = None,
    *,
    ctx: Context | None = None,
    context_type: Literal["simple", "chat"] | None = None,
    model_options: Mapping[str, Any] | None = None,
    **backend_options: Any,
) -> tuple[Context, Backend]:
    """Choose a backend, a model and a context as `start_session` does, without a session around them.

    The arguments and errors are those of `start_session`. What the backend opens, `aclose` closes.

    Returns:
        The context and the backend, as the functions of `mfuncs` take them.

    Example:
        ```python
        from mellea_like import mfuncs, start_backend

        context, backend = start_backend("fake", answers="Hello!")
        answer, context = mfuncs.instruct("Say hello.", context, backend)
        print(answer)
        ```

    Source: Mellea's `start_backend`, https://mellea.ai
    """
    name = backend_name or os.environ.get(DEFAULT_MODEL_VARIABLE) or _at_hand()
    name, colon, model = name.partition(":")
    if colon and model_id is not None:
        raise InvalidArgument(f"Two models were given: {model!r} in {backend_name!r}, and model_id={model_id!r}.")
    if isinstance(model_id, ModelIdentifier):
        model_id = model_id.name_for(name)
    if ctx is not None and context_type is not None:
        raise InvalidArgument("Give either ctx or context_type, not both: a context has its type.")
    if ctx is not None and not isinstance(ctx, Context):
        raise InvalidArgument(f"ctx is {ctx!r}; it must be a context, such as `ChatContext()`.")
    if context_type is not None and context_type not in CONTEXTS:
        raise unknown_name("context type", context_type, CONTEXTS)
    backend = _opened(backend_class(name), model or model_id, model_options, backend_options)
    return (ctx if ctx is not None else CONTEXTS[context_type or "simple"]()), backend


def _at_hand() -> str:
    """Name what a session without a name runs on."""
    from ..backends._at_hand import ollama_models  # sockets, which a session with a name does not need

    models = ollama_models()
    return f"ollama:{models[0]}" if models else DEFAULT_BACKEND


def _opened(
    kind: type[Backend], model: str | None, model_options: Mapping[str, Any] | None, options: dict[str, Any]
) -> Backend:
    import inspect  # 14 ms, and only to explain a mistake

    parameters = inspect.signature(kind).parameters
    valid = [name for name in parameters if name not in {"model_id", "model_options"}]
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        for name in options:
            if name not in valid:
                raise unknown_name(f"option of the backend {kind.name!r} called", name, valid)
    return kind(model, model_options=model_options, **options)
