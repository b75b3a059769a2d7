def ml_pipeline_flow(p: dict) -> dict:
    # Validation
    p = validate_input(p)
    if not p.get("valid", False):
        p["error"] = "Invalid input"
        return p  # Early exit to end_ml_pipeline_flow
    # Preprocessing
    p = normalize_data(p)
    p = extract_features(p)
    p["preprocessed"] = True

    # Model selection
    if p["model_type"] == "fast":
        p = lightweight_model(p)
    elif p["model_type"] == "accurate":
        p = deep_model(p)
    else:
        p["error"] = "Unknown model type"
        return p
    # Postprocessing
    p = format_results(p)
    p["pipeline_complete"] = True
    return p


def validate_input(p: dict) -> dict:
    values = p.get("values")
    return {**p, "valid": isinstance(values, list) and len(values) >= 3 and all(isinstance(v, (int, float)) for v in values)}


def normalize_data(p: dict) -> dict:
    low, high = min(p["values"]), max(p["values"])
    return {**p, "normalized": [round((v - low) / (high - low), 4) if high > low else 0.0 for v in p["values"]]}


def extract_features(p: dict) -> dict:
    values = p["normalized"]
    return {**p, "features": {"mean": round(sum(values) / len(values), 4), "last": values[-1]}}


def lightweight_model(p: dict) -> dict:
    """The next value is the last one."""
    return {**p, "prediction": p["features"]["last"], "model": "last-value"}


def deep_model(p: dict) -> dict:
    """The next value by a straight line through all of them (least squares)."""
    values = p["normalized"]
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    slope = sum((i - middle) * (v - mean) for i, v in enumerate(values)) / sum((i - middle) ** 2 for i in range(len(values)))
    return {**p, "prediction": round(mean + slope * (len(values) - middle), 4), "model": "trend"}


def format_results(p: dict) -> dict:
    low, high = min(p["values"]), max(p["values"])
    return {**p, "result": round(low + p["prediction"] * (high - low), 2)}
