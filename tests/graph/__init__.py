"""Graphs: what they show while they run, and what they come to."""
