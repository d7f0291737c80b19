"""AG-UI, the Agent User Interaction protocol, out: what its clients read. A pure function of the events of one stream.

Source: https://docs.ag-ui.com/concepts/events
"""

from __future__ import annotations

import uuid
from typing import Any

from .ai_sdk import usage_form
from .json_form import ErrorText, safe_text
from .opened import Block, Calling, Frame, Outcome
from .runs import RunEncoder


class AGUIEncoder(RunEncoder):
    """Frames of AG-UI 1.0: a run with its text messages, reasoning, tool calls, steps (a graph's nodes) and state.

    What else is said is `CUSTOM`: `verdict` for each requirement that was judged, `retried` for each attempt that was
    given up (`void` lists the ids of messages that were shown and are no part of the answer), `draft` for the text of
    attempts as it grows, and custom events under their own names. A graph that waits ends its run with the outcome
    `interrupt`, a run that was stopped with `cancelled`.

    It follows one stream. Where one encoder serves many, `fresh()` gives one for each.

    Args:
        thread_id: The conversation's id, as the client sent it; None makes one.
        run_id: The run's id, as the client sent it; None makes one. Ids of messages begin with it.
        error_text: What to say of an error to whoever reads; by default its kind alone. See `SSEEncoder`.

    Example:
        ```python
        from mellea_like import start_session
        from mellea_like.encoding.ag_ui import AGUIEncoder

        encoder = AGUIEncoder(thread_id="t1", run_id="r1")
        print(encoder.begin().decode(), end="")
        with start_session("fake", answers="Hello!") as m:
            for event in m.instruct("Say hello.", await_result=False).events():
                print(encoder.encode(event, event.seq).decode(), end="")
        print(encoder.end().decode(), end="")
        ```

    Source: https://docs.ag-ui.com/concepts/events
    """

    def __init__(
        self, *, thread_id: str | None = None, run_id: str | None = None, error_text: ErrorText = safe_text
    ) -> None:
        super().__init__(error_text=error_text)
        self._given = (thread_id, run_id)
        self._thread_id, self._run_id = (str(uuid.uuid4()) if given is None else given for given in self._given)

    def fresh(self) -> AGUIEncoder:
        """Give an encoder like this one for another stream; ids that were made are made anew."""
        thread_id, run_id = self._given
        return AGUIEncoder(thread_id=thread_id, run_id=run_id, error_text=self._error_text)

    def begin(self) -> bytes:
        """Give `RUN_STARTED`."""
        self._out.append({"type": "RUN_STARTED", "threadId": self._thread_id, "runId": self._run_id})
        return self._frames()

    def _prefix(self) -> str:
        # A client keeps the messages of all runs of a thread by their ids.
        return f"{self._run_id}-"

    # --- text and reasoning -----------------------------------------------------------------------------------------

    def _generation(self) -> list[Frame]:
        return []

    def _block_opened(self, block: Block) -> list[Frame]:
        about: Frame = {"messageId": block.id}
        if block.node is not None:
            about["metadata"] = {"node": block.node}
        if block.kind == "text":
            return [{"type": "TEXT_MESSAGE_START", **about, "role": "assistant"}]
        return [{"type": "REASONING_START", **about}, {"type": "REASONING_MESSAGE_START", **about, "role": "reasoning"}]

    def _block_grown(self, block: Block, text: str) -> list[Frame]:
        kind = "TEXT_MESSAGE_CONTENT" if block.kind == "text" else "REASONING_MESSAGE_CONTENT"
        return [{"type": kind, "messageId": block.id, "delta": text}]

    def _block_closed(self, block: Block) -> list[Frame]:
        ends = ("TEXT_MESSAGE_END",) if block.kind == "text" else ("REASONING_MESSAGE_END", "REASONING_END")
        return [{"type": kind, "messageId": block.id} for kind in ends]

    # --- tool calls -------------------------------------------------------------------------------------------------

    def _call_opened(self, call: Calling) -> list[Frame]:
        return [{"type": "TOOL_CALL_START", "toolCallId": call.id, "toolCallName": call.name}]

    def _call_grown(self, call: Calling, fragment: str) -> list[Frame]:
        return [{"type": "TOOL_CALL_ARGS", "toolCallId": call.id, "delta": fragment}]

    def _call_closed(self, call: Calling, *, cut: bool) -> list[Frame]:
        return [{"type": "TOOL_CALL_END", "toolCallId": call.id}]

    def _call_answered(self, call: Calling, output: Any, *, ok: bool) -> list[Frame]:
        about: Frame = {"messageId": f"{self._prefix()}result-{self._next()}", "toolCallId": call.id}
        if not ok:
            about["metadata"] = {"ok": False}
        return [{"type": "TOOL_CALL_RESULT", **about, "content": self._as_text(output), "role": "tool"}]

    # --- what is no part of the answer ------------------------------------------------------------------------------

    def _node_told(self, label: str, status: str, error: str | None = None) -> list[Frame]:
        if status == "running":
            return [{"type": "STEP_STARTED", "stepName": label}]
        about: Frame = {"status": status} if error is None else {"status": status, "error": error}
        return [{"type": "STEP_FINISHED", "stepName": label, "metadata": about}]

    def _state_told(self, path: tuple[str, ...], state: Any) -> list[Frame]:
        if path:  # a snapshot stands for all of a run's state, and this is a subgraph's
            return self._noted("state", {"path": path, "state": state})
        return [{"type": "STATE_SNAPSHOT", "snapshot": state}]

    def _noted(self, name: str, payload: Any, *, passing: bool = False) -> list[Frame]:
        return [{"type": "CUSTOM", "name": name, "value": payload}]

    # --- ends -------------------------------------------------------------------------------------------------------

    def _failed(self, text: str, error: BaseException) -> list[Frame]:
        said: Frame = {"type": "RUN_ERROR", "message": text, "code": type(error).__name__}
        return [said | self._usage(self._outcome)]

    def _ended(self, outcome: Outcome) -> list[Frame]:
        if outcome.kind == "failed":
            return []
        said: Frame = {"type": "RUN_FINISHED", "threadId": self._thread_id, "runId": self._run_id}
        result = getattr(outcome.event, "parsed", None)
        if result is not None:
            said["result"] = result
        return [said | {"outcome": _outcome(outcome)} | self._usage(outcome)]

    def _usage(self, outcome: Outcome) -> Frame:
        if outcome.usage is None:
            return {}
        model = getattr(outcome.event, "model", None)
        return {"usage": [({} if model is None else {"model": model}) | usage_form(outcome.usage)]}


def _outcome(outcome: Outcome) -> Frame:
    if outcome.kind == "cancelled":
        return {"type": "cancelled"}
    asked = getattr(outcome.event, "interrupts", ())
    if not asked:
        return {"type": "success"}
    return {"type": "interrupt", "interrupts": [_interrupt(event) for event in asked]}


def _interrupt(event: Any) -> Frame:
    said = {"id": event.id, "reason": "interrupt", "metadata": {"value": event.value}}
    return {**said, "message": event.value} if isinstance(event.value, str) else said
