"""A tool of the graphs beside it."""


def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())
