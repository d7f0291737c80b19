# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Strategies: what is done when an answer is not good enough, and how to write one.

uv run docs/examples/requirements/strategies.py
uv run docs/examples/requirements/strategies.py --backend fake     # scripted, no model
"""

import argparse

from mellea_like import (
    Attempt,
    BestofNSamplingStrategy,
    BudgetForcingSamplingStrategy,
    EscalationStrategy,
    MajorityVotingStrategyForMath,
    MelleaSession,
    MultiTurnStrategy,
    RejectionSamplingStrategy,
    RepairTemplateStrategy,
    SamplingStrategy,
    requires,
    start_session,
)

SUM = "What is 17 + 25? Answer in one short sentence."
RULES = [requires.length(max=12), requires.matches(r"\d", description="Name a number.")]
SCRIPT = [
    "Let me think about that for quite a while before I give you the answer.",
    "17 + 25 is 42.",
    "It is 42.",
    "41",
]


class UntilTwoAgree(SamplingStrategy):
    """A strategy of your own: a plain generator that yields attempts and is sent samples."""

    def plan(self, first: Attempt):
        seen = []
        while True:
            sample = yield [first]
            if sample.text in seen or len(seen) == 4:
                return sample
            seen.append(sample.text)


def strategies(m: MelleaSession) -> dict[str, SamplingStrategy]:
    return {
        "again": RejectionSamplingStrategy(loop_budget=3),
        "again, with what was wrong": RepairTemplateStrategy(loop_budget=3),
        "again, as a conversation": MultiTurnStrategy(loop_budget=3),
        "the shortest of three, side by side": BestofNSamplingStrategy(loop_budget=3, key=lambda text: -len(text)),
        "the number that most of five agree on": MajorityVotingStrategyForMath(number_of_samples=5),
        "think first, for 60 tokens at most": BudgetForcingSamplingStrategy(think_max_tokens=60),
        "a larger model where a smaller fails": EscalationStrategy(solvers=[m.backend, m.backend]),
        "of my own: until two agree": UntilTwoAgree(),
    }


def run(backend: str | None) -> None:
    script = {"answers": SCRIPT * 10} if backend == "fake" else {}
    with start_session(backend, **script, model_options={"max_new_tokens": 60, "seed": 1}) as m:
        for name, strategy in strategies(m).items():
            answer = m.instruct(SUM, requirements=RULES, strategy=strategy)
            print(f"# {name}\n{answer.value}")
            print(f"  success: {answer.success}, attempts: {len(answer.samples)}, {answer.usage}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    run(parser.parse_args().backend)
