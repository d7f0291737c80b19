"""Prompts that are written in files."""
