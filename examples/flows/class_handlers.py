"""Handlers that are methods: each class is built once in its actor, from the defaults of its constructor."""

import re


def support_flow(p: dict) -> dict:
    """Sort a support message into a queue and redact what is private."""
    classifier = TextClassifier()
    p = Redactor().process(p)
    p = classifier.process(p)
    if p["confidence"] < 0.5:
        p["queue"] = "triage"
    return p


class Redactor:
    def __init__(self, mask: str = "***"):
        self.mask = mask
        self.private = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+|\b\d{4}(?:[ -]?\d{4}){3}\b")

    def process(self, p: dict) -> dict:
        text, count = self.private.subn(self.mask, p["text"])
        return {**p, "text": text, "redacted": count}


class TextClassifier:
    def __init__(self, minimum: int = 1):
        self.minimum = minimum
        self.words = {
            "billing": {"invoice", "refund", "card", "charged", "paid"},
            "technical": {"error", "crash", "login", "slow", "password"},
        }

    def process(self, p: dict) -> dict:
        """The queue whose words are most in the text; the confidence is its share of all hits."""
        words = set(re.findall(r"\w+", p["text"].lower()))
        hits = {queue: len(words & known) for queue, known in self.words.items()}
        best = max(sorted(hits), key=hits.__getitem__)
        total = sum(hits.values())
        return {**p, "queue": best, "confidence": round(hits[best] / total, 2) if total >= self.minimum else 0.0}
