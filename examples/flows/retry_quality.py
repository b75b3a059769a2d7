"""A retry loop on quality: draft, judge, improve, at most three times."""


def writing_flow(p: dict) -> dict:
    """Write a title that the judge accepts."""
    p = draft(p)
    p = judge(p)
    p["attempts"] = 1
    while p["quality"] < 0.8 and p["attempts"] < 3:
        p["attempts"] += 1
        p = improve(p)
        p = judge(p)
    if p["quality"] < 0.8:
        p["needs_editor"] = True
    return p


def draft(p: dict) -> dict:
    return {**p, "title": p["text"].split(".")[0].strip()}


def judge(p: dict) -> dict:
    """Short titles without filler are good; each fault is named."""
    words = p["title"].split()
    faults = [
        name for name, is_wrong in (("long", len(words) > 8), ("filler", "very" in words), ("case", p["title"][:1].islower())) if is_wrong
    ]
    return {**p, "quality": round(1 - 0.3 * len(faults), 1), "faults": faults}


def improve(p: dict) -> dict:
    """Mends the first fault."""
    words = p["title"].split()
    if "long" in p["faults"]:
        words = words[:8]
    elif "filler" in p["faults"]:
        words = [word for word in words if word != "very"]
    else:
        words = [words[0].capitalize(), *words[1:]]
    return {**p, "title": " ".join(words)}
