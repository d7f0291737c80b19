"""Prompts that are written in YAML files: finding them, filling them in, asking models with them."""
