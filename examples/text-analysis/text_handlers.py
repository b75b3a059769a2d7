"""Clean a text and cut it into words. Each handler adds its results to the payload and keeps what was there."""

import re
import unicodedata

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\ufeff]")
SPACE = re.compile(r"\s+")
TOKEN = re.compile(r"https?://\S+|\w+(?:['’.@-]\w+)*|[^\w\s]")


def clean_text(payload: dict) -> dict:
    """Adds ``cleaned_text``: Unicode in composed form, no control characters, single spaces, no space at either end."""
    text = payload.get("text")
    if not isinstance(text, str):
        raise ValueError(f"text must be a string, not {type(text).__name__}")
    composed = unicodedata.normalize("NFC", text)
    return {**payload, "cleaned_text": SPACE.sub(" ", CONTROL.sub("", composed)).strip()}


def tokenize(payload: dict) -> dict:
    """Adds ``tokens`` (words, numbers, addresses and punctuation in order) and ``word_count`` (tokens that hold a letter or digit)."""
    tokens = TOKEN.findall(payload["cleaned_text"])
    return {**payload, "tokens": tokens, "word_count": sum(any(c.isalnum() for c in token) for token in tokens)}
