"""Every handler of the public quick start, as printed. What its text does not ship (models, torchvision) are tiny real modules here."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.behaviour("runtime:quick-start")

PAYLOADS, ENVELOPES, ERROR = 0x20, 0x21, 0x22

PREPROCESSOR = """
def process(payload: dict) -> dict:
    text = payload.get("text", "")
    return {
        **payload, # Preserve input
        "cleaned_text": text.strip().lower(),
        "word_count": len(text.split())
    }
"""
CLASSIFIER = """
class TextClassifier:
    def __init__(self, model_path: str = "/models/default"):
        # Loaded once at pod startup, not per message
        self.model = load_model(model_path)
        print(f"Model loaded from {model_path}")
    def process(self, payload: dict) -> dict:
        text = payload.get("cleaned_text", "")
        prediction = self.model.predict(text)
        # Add classification results to payload
        return {
            **payload, # Keep preprocessor results
            "category": prediction["category"],
            "confidence": prediction["score"]
        }
"""
ABORT = """
def process(payload: dict) -> dict | None:
    # Skip processing if already done
    if payload.get("already_processed"):
        return None # Routes to happy-end, no further processing
    # Normal processing - sent to the next actor
    return {**payload, "result": "..."}
"""
TEXT_PROCESSOR = """
def process(payload: dict) -> dict:
    text = payload.get("text", "")
    return {
        **payload,
        "processed": text.upper(),
        "length": len(text)
    }
"""
LLM = """
class LLMInference:
    def __init__(self, model_path: str = "/models/llama3"):
        # Load model once at startup
        self.model = load_llm(model_path)
        print(f"Loaded LLM from {model_path}")
    def process(self, payload: dict) -> dict:
        prompt = payload.get("prompt", "")
        response = self.model.generate(prompt, max_tokens=512)
        return {
            **payload, # Keep all previous data
            "llm_response": response,
            "model": "llama3"
        }
"""
IMAGE = """
class ImageClassifier:
    def __init__(self, model_name: str = "resnet50"):
        import torchvision.models as models
        self.model = models.__dict__[model_name](pretrained=True)
        self.model.eval()
    def process(self, payload: dict) -> dict:
        image_url = payload.get("image_url")
        image = load_image(image_url)
        prediction = self.model(image)
        return {
            **payload,
            "predicted_class": prediction.argmax().item(),
            "confidence": prediction.max().item()
        }
"""
JUDGE = """
class LLMJudge:
    def __init__(self, threshold: float = 0.8):
        self.model = load_llm("/models/judge")
        self.threshold = float(threshold)
    def process(self, envelope: dict) -> dict:
        # Envelope structure:
        # {
        #   "id": "...",
        #   "payload": {...}, # Your data
        #   "route": {
        #     "actors": ["preprocessor", "llm-judge", "postprocessor"],
        #     "current": 1 # Points to current actor (llm-judge)
        #   }
        # }
        payload = envelope["payload"]
        # Run LLM judge
        score = self.model.judge(payload["llm_response"])
        payload["judge_score"] = score
        # Dynamically modify route based on score
        route = envelope["route"]
        if score < self.threshold:
            # Low quality response - add refinement step
            route["actors"].insert(
                route["current"] + 1, # After current position
                "llm-refiner" # Extra step
            )
        # Increment current pointer
        route["current"] += 1
        return envelope
"""
ERROR_HANDLING = """
def process(payload: dict) -> dict:
    if "required_field" not in payload:
        raise ValueError("Missing required_field")
    # Normal processing
    result = do_work(payload["required_field"])
    return {**payload, "result": result}
"""
MODELS = """
class Model:
    def __init__(self, path): self.path = path
    def predict(self, text): return {"category": "long" if len(text) > 5 else "short", "score": 0.9}
    def generate(self, prompt, max_tokens): return prompt[::-1][:max_tokens]
    def judge(self, text): return min(1.0, len(text) / 10)
def load_model(path): return Model(path)
def load_llm(path): return Model(path)
def do_work(value): return value * 2
"""
IMPORT = "from models import load_model, load_llm, do_work\n"
TORCHVISION = """
class Scores(list):
    def argmax(self): return Scalar(self.index(max(self)))
    def max(self): return Scalar(max(self))
class Scalar:
    def __init__(self, value): self.value = value
    def item(self): return self.value
class resnet50:
    def __init__(self, pretrained): pass
    def eval(self): return self
    def __call__(self, image): return Scores(image)
"""


def test_function_handler(start: Callable[..., Any]) -> None:
    client = start("preprocessor.process", files={"preprocessor.py": PREPROCESSOR}).connect()
    assert client.payload({"text": " Hello World "}) == (
        PAYLOADS,
        (False, [{"text": " Hello World ", "cleaned_text": "hello world", "word_count": 2}]),
    )


def test_class_handler_with_its_environment(start: Callable[..., Any]) -> None:
    files = {"classifier.py": IMPORT + CLASSIFIER, "models.py": MODELS}
    runtime = start("classifier.TextClassifier.process", files=files, MODEL_PATH="/models/mine")
    assert runtime.connect().payload({"cleaned_text": "hello world"})[1][1][0]["category"] == "long"
    assert runtime.stdout() == "Model loaded from /models/mine\n"


def test_none_aborts(start: Callable[..., Any]) -> None:
    client = start("handlers.process", "from __future__ import annotations\n" + ABORT).connect()
    assert client.payload({"already_processed": True}) == (PAYLOADS, (False, []))
    assert client.payload({}) == (PAYLOADS, (False, [{"result": "..."}]))


def test_text_processor_in_the_documented_layout(start: Callable[..., Any]) -> None:
    client = start("src.text_processor.process", files={"src/text_processor.py": TEXT_PROCESSOR}).connect()
    assert client.payload({"text": "hello world", "request_id": "123"}) == (
        PAYLOADS,
        (False, [{"text": "hello world", "request_id": "123", "processed": "HELLO WORLD", "length": 11}]),
    )


def test_text_processor_copied_flat_is_refused_with_the_right_path(start: Callable[..., Any]) -> None:
    runtime = start("src.text_processor.process", files={"text_processor.py": TEXT_PROCESSOR})
    assert runtime.wait() == 78
    assert "did you mean 'text_processor.process'?" in runtime.last_line()


def test_llm_inference(start: Callable[..., Any]) -> None:
    files = {"llm_inference.py": IMPORT + LLM, "models.py": MODELS}
    client = start("llm_inference.LLMInference.process", files=files, MODEL_PATH="/models/llama3").connect()
    assert client.payload({"prompt": "abc"}) == (PAYLOADS, (False, [{"prompt": "abc", "llm_response": "cba", "model": "llama3"}]))


def test_image_classification(start: Callable[..., Any]) -> None:
    source = "def load_image(url): return [0.1, 0.7, 0.2]\n" + IMAGE
    files = {"image_classifier.py": source, "torchvision/__init__.py": "", "torchvision/models.py": TORCHVISION}
    client = start("image_classifier.ImageClassifier.process", files=files, MODEL_NAME="resnet50").connect()
    assert client.payload({"image_url": "u"}) == (PAYLOADS, (False, [{"image_url": "u", "predicted_class": 1, "confidence": 0.7}]))


def test_llm_judge_inserts_a_refiner(start: Callable[..., Any]) -> None:
    files = {"llm_judge.py": IMPORT + JUDGE, "models.py": MODELS}
    client = start("llm_judge.LLMJudge.process", files=files, ASYA_HANDLER_MODE="envelope", THRESHOLD="0.5").connect()
    kind, (_, (head, payload)) = client.payload({"llm_response": "abc"})
    assert (kind, head["route"], payload["judge_score"]) == (ENVELOPES, {"actors": ["a", "llm-refiner", "b"], "current": 1}, 0.3)
    _, (_, (head, _)) = client.payload({"llm_response": "long enough"})
    assert head["route"] == {"actors": ["a", "b"], "current": 1}


def test_error_handling(start: Callable[..., Any]) -> None:
    files = {"handlers.py": IMPORT + ERROR_HANDLING, "models.py": MODELS}
    client = start("handlers.process", files=files).connect()
    kind, error = client.payload({})
    assert (kind, error["type"], error["message"]) == (ERROR, "ValueError", "Missing required_field")
    assert client.payload({"required_field": 2})[0] == PAYLOADS
