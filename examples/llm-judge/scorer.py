"""A tiny local judge: how well does an answer cover the question? No model, no download, the same on each run."""

import re

WORD = re.compile(r"[a-z0-9]+(?:['’-][a-z0-9]+)*")
SENTENCE = re.compile(r"[^.!?]+[.!?]+|[^.!?]+$")
STOP_WORDS = frozenset(
    WORD.findall("""
    a about an and are as at be by can do does for from has have how i in is it its of on or
    that the this to was what when where which who why will with you your
    """)
)


def stem(word: str) -> str:
    """`word` without the commonest English endings, so that "batteries" and "battery" meet."""
    for ending, instead in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + instead
    return word


def terms(text: str) -> set[str]:
    """The content words of `text`, stemmed."""
    return {stem(word) for word in WORD.findall(text.lower()) if word not in STOP_WORDS}


def sentences(text: str) -> list[str]:
    """The sentences of `text`, in order."""
    return [sentence.strip() for sentence in SENTENCE.findall(text) if sentence.strip()]


class CoverageScorer:
    """Rates an answer from 0 to 1: half for the question's terms that it takes up, half for being a full, unrepetitive sentence or more."""

    def judge(self, question: str, answer: str) -> float:
        asked, said = terms(question), WORD.findall(answer.lower())
        if not said:
            return 0.0
        coverage = len(asked & terms(answer)) / len(asked) if asked else 1.0
        fullness = min(1.0, len(said) / 12)
        variety = len(set(said)) / len(said)
        return round(0.5 * coverage + 0.3 * fullness + 0.2 * variety, 3)
