"""A/B by the hash of a field: the same user always sees the same variant, without any state."""

import hashlib

SHARE_OF_B = 20


def ranking_flow(p: dict) -> dict:
    """Rank products by one of two rules."""
    p["bucket"] = int(hashlib.sha256(p["user_id"].encode()).hexdigest()[:8], 16) % 100
    if p["bucket"] < SHARE_OF_B:
        p["variant"] = "B"
        p = rank_by_margin(p)
    else:
        p["variant"] = "A"
        p = rank_by_sales(p)
    p = record_exposure(p)
    return p


def rank_by_sales(p: dict) -> dict:
    return {**p, "ranking": [one["name"] for one in sorted(p["products"], key=lambda one: (-one["sales"], one["name"]))]}


def rank_by_margin(p: dict) -> dict:
    return {**p, "ranking": [one["name"] for one in sorted(p["products"], key=lambda one: (-one["sales"] * one["margin"], one["name"]))]}


def record_exposure(p: dict) -> dict:
    return {**p, "exposure": f"{p['user_id']}:{p['variant']}"}
