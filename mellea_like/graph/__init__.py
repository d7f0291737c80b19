"""Graphs of nodes that stream: one specification, one scheduler, one log per run, and views on it."""
