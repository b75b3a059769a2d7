"""Find names, addresses, dates and amounts in a text by rules: small, explainable, the same on each run."""

import re

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
PATTERNS = {
    "url": re.compile(r"https?://[^\s,;)]+[^\s,;).!?]"),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "date": re.compile(rf"\b(?:\d{{4}}-\d\d-\d\d|(?:{MONTHS}) \d{{1,2}}(?:, \d{{4}})?|\d{{1,2}} (?:{MONTHS})(?: \d{{4}})?)\b"),
    "money": re.compile(r"[$€£]\s?\d+(?:[.,]\d+)*|\b\d+(?:[.,]\d+)*\s?(?:USD|EUR|GBP|dollars|euros|pounds)\b"),
    "percent": re.compile(r"\b\d+(?:[.,]\d+)?\s?%"),
}
NAME = re.compile(r"\b[A-Z][\w’'-]+(?: (?:(?:of|de|van|von) )?[A-Z][\w’'-]+)*")
SENTENCE_START = re.compile(r"(?:^|[.!?…]\s+|[\"“]\s*)$")


def extract_entities(payload: dict) -> dict:
    """Adds ``entities``: a list of {text, type, start}, by place. One capitalised word that begins a sentence is no name."""
    text = payload["cleaned_text"]
    found = [(match.start(), match.end(), kind) for kind, pattern in PATTERNS.items() for match in pattern.finditer(text)]
    for match in NAME.finditer(text):
        start, end = match.span()
        opens_sentence = SENTENCE_START.search(text[:start]) is not None
        if opens_sentence and " " not in match.group():
            continue
        if not any(start < other_end and other_start < end for other_start, other_end, _ in found):
            found.append((start, end, "name"))
    found.sort()
    return {**payload, "entities": [{"text": text[start:end], "type": kind, "start": start} for start, end, kind in found]}
