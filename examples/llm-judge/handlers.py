"""The payload-mode actors around the judge."""

from scorer import sentences, terms


def preprocess(payload: dict) -> dict:
    """Trims prompt and answer; refuses a payload without them."""
    missing = [key for key in ("prompt", "llm_response") if not isinstance(payload.get(key), str)]
    if missing:
        raise ValueError(f"payload lacks the text {' and '.join(missing)}")
    return {**payload, "prompt": payload["prompt"].strip(), "llm_response": payload["llm_response"].strip()}


def refine(payload: dict) -> dict:
    """Adds to the answer those sentences of ``context`` that take up most of what it left open, best first, at most two."""
    answer = payload["llm_response"]
    candidates = sentences(payload.get("context", ""))
    for _ in range(2):
        missing = terms(payload["prompt"]) - terms(answer)
        gain, best = max(((len(missing & terms(sentence)), sentence) for sentence in candidates), key=lambda pair: pair[0], default=(0, ""))
        if not gain:
            break
        answer = f"{answer.rstrip('.!? ')}. {best}"
    return {**payload, "llm_response": answer, "refined": answer != payload["llm_response"]}


def postprocess(payload: dict) -> dict:
    """Adds ``answer``: the text with a capital first and a full stop last."""
    text = payload["llm_response"]
    text = text[:1].upper() + text[1:]
    return {**payload, "answer": text if text.endswith((".", "!", "?")) else f"{text}."}
