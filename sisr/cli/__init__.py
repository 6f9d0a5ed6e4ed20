"""The command line, `python -m sisr`: `main` parses the words, calls one function of a stage and prints."""

from sisr.cli.main import main, verbs

__all__ = ["main", "verbs"]
