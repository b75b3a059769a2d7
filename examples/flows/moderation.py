"""Moderation: publish, hold for a person, or block."""


def moderation_flow(p: dict) -> dict:
    """Decide what happens to a comment."""
    p = score_toxicity(p)
    p = score_spam(p)
    if p["toxicity"] >= 0.9 or p["spam"] >= 0.9:
        p = block(p)
        return p
    if p["toxicity"] >= 0.5 or p["spam"] >= 0.5:
        p["reason"] = "toxicity" if p["toxicity"] >= p["spam"] else "spam"
        if p.get("author_trust", 0) < 5:
            p = hold_for_review(p)
            return p
        p["trusted"] = True
    p = publish(p)
    return p


RUDE = {"idiot", "stupid", "shut"}


def score_toxicity(p: dict) -> dict:
    words = [word.strip(".,:!?").lower() for word in p["comment"].split()]
    rude = sum(word in RUDE for word in words)
    return {**p, "toxicity": min(1.0, round(4 * rude / max(len(words), 1), 2))}


def score_spam(p: dict) -> dict:
    links = p["comment"].count("http://") + p["comment"].count("https://")
    return {**p, "spam": min(1.0, 0.5 * links)}


def block(p: dict) -> dict:
    return {**p, "decision": "blocked"}


def hold_for_review(p: dict) -> dict:
    return {**p, "decision": "held", "queue": f"review-{p['reason']}"}


def publish(p: dict) -> dict:
    return {**p, "decision": "published"}
