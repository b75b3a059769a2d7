"""A fan by language: one model each, and one for all others."""


def translation_flow(p: dict) -> dict:
    """Find the language of a sentence and greet in it."""
    p = detect_language(p)
    if p["language"] == "en":
        p = english(p)
    elif p["language"] == "de":
        p = german(p)
    elif p["language"] == "fr":
        p = french(p)
    elif p["language"] == "it":
        p = italian(p)
    else:
        p["fallback"] = True
        p = english(p)
    return p


WORDS = {
    "en": {"the", "is", "and", "where", "a"},
    "de": {"der", "die", "das", "ist", "und", "wo"},
    "fr": {"le", "la", "est", "et", "où"},
    "it": {"il", "la", "è", "e", "dove"},
}


def detect_language(p: dict) -> dict:
    words = set(p["text"].lower().strip("?!. ").split())
    hits = {language: len(words & known) for language, known in WORDS.items()}
    best = max(sorted(hits), key=hits.__getitem__)
    return {**p, "language": best if hits[best] else "unknown"}


def english(p: dict) -> dict:
    return {**p, "reply": "Thank you for your message."}


def german(p: dict) -> dict:
    return {**p, "reply": "Vielen Dank für Ihre Nachricht."}


def french(p: dict) -> dict:
    return {**p, "reply": "Merci pour votre message."}


def italian(p: dict) -> dict:
    return {**p, "reply": "Grazie per il tuo messaggio."}
