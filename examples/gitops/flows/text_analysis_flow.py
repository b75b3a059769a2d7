def text_analysis_flow(p: dict) -> dict:
    """Clean a text, rate its sentiment by language, find the names in it."""
    # Flow entrypoint: start_text_analysis_flow

    # Preprocessing
    p = clean_text(p)
    p = tokenize(p)

    # Conditional analysis (creates router)
    if p["language"] == "en":
        p = english_sentiment(p)
    elif p["language"] == "es":
        p = spanish_sentiment(p)
    else:
        p["sentiment"] = "neutral"  # Skip analysis

    # Enrichment
    p = extract_entities(p)
    p["extracted"] = True
    return p  # Flow exitpoint: end_text_analysis_flow


ENGLISH = {"wonderful": 2, "great": 2, "good": 1, "fast": 1, "slow": -1, "bad": -1, "broken": -2, "terrible": -2}
SPANISH = {"maravilloso": 2, "excelente": 2, "bueno": 1, "rápido": 1, "lento": -1, "malo": -1, "roto": -2, "terrible": -2}


def clean_text(p: dict) -> dict:
    return {**p, "cleaned_text": " ".join(p["text"].split())}


def tokenize(p: dict) -> dict:
    words = [word.strip(".,;:!?¡¿\"'()") for word in p["cleaned_text"].split()]
    return {**p, "tokens": [word for word in words if word]}


def english_sentiment(p: dict) -> dict:
    return {**p, "sentiment": rating(p["tokens"], ENGLISH, negation={"not", "never", "no"})}


def spanish_sentiment(p: dict) -> dict:
    return {**p, "sentiment": rating(p["tokens"], SPANISH, negation={"no", "nunca", "jamás"})}


def rating(tokens: list, lexicon: dict, *, negation: set) -> str:
    """A word counts by the lexicon, the other way round directly behind a negation."""
    score, sign = 0, 1
    for token in tokens:
        word = token.lower()
        score += sign * lexicon.get(word, 0)
        sign = -1 if word in negation else 1
    return "positive" if score > 0 else "negative" if score < 0 else "neutral"


def extract_entities(p: dict) -> dict:
    """Capitalised words in a row are one name; the first word of the text alone is none."""
    names, current = [], []
    for place, token in enumerate([*p["tokens"], ""]):
        if token[:1].isupper():
            current.append((place, token))
        else:
            if current and (current[0][0] > 0 or len(current) > 1):
                names.append(" ".join(word for _, word in current))
            current = []
    return {**p, "entities": names}
