def sample_flow(p: dict) -> dict:
    p = handler_setup(p)
    if p["type"] == "A":
        p["branch"] = "A"
        p = handler_type_a(p)
    else:
        p = handler_type_b(p)
        p["branch"] = "B"
    p = handler_finalize(p)
    return p


def handler_setup(p: dict) -> dict:
    return {**p, "type": p["type"].strip().upper()}


def handler_type_a(p: dict) -> dict:
    return {**p, "total": sum(p["values"])}


def handler_type_b(p: dict) -> dict:
    return {**p, "total": max(p["values"])}


def handler_finalize(p: dict) -> dict:
    return {**p, "report": f"{p['branch']}: {p['total']}"}
