def process(payload: dict) -> dict:
    text = payload.get("text", "")
    return {**payload, "processed": text.upper(), "length": len(text), "version": 2}
