"""Owns the markup of prompts: ChatML, which the engine's models are given by both repositories.

Text of people can never become markup: its marks are broken before it goes in.
"""

ASSISTANT = "assistant"
SYSTEM = "system"
USER = "user"

_START = "<|im_start|>"
_END = "<|im_end|>"
_BREAK = "\u200b"
"""Zero-width space: breaks a mark in people's text without changing how it looks."""


def turn(role: str, text: str) -> str:
    """A whole turn. text: anybody's."""
    return f"{_START}{role}\n{defused(text)}{_END}\n"


def opening(role: str, text: str = "") -> str:
    """A turn that the engine is to go on with."""
    return f"{_START}{role}\n{defused(text)}"


def defused(text: str) -> str:
    """The text with every mark in it broken, so that it stays text."""
    return text.replace("<|", f"<{_BREAK}|")
