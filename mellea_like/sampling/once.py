"""No strategy: one attempt, shown while it grows and judged at its end."""

from __future__ import annotations

from . import Attempt, Plan, SamplingStrategy


class Once(SamplingStrategy):
    """One attempt, whatever the verdict; what `strategy=None` means for a call that has requirements."""

    steps_in_place = True

    def plan(self, first: Attempt) -> Plan:
        """Make the attempt."""
        return (yield [first])
