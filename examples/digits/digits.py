"""Recognise a handwritten digit. The model is trained once, when the actor starts, on the data set that ships with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

SIDE = 8


class DigitClassifier:
    def __init__(self, gamma: float = 0.001, seed: int = 7):
        images, labels = load_digits(return_X_y=True)
        train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=0.25, random_state=seed, stratify=labels)
        self.model = SVC(gamma=gamma).fit(train_x, train_y)
        print(f"Trained on {len(train_y)} images, accuracy on {len(test_y)} others: {self.model.score(test_x, test_y):.3f}")

    def process(self, payload: dict) -> dict:
        """Takes ``image``, 8 rows of 8 values from 0 to 16. Adds ``digit`` (0 to 9) and ``margin``, its lead over the second best."""
        image = np.asarray(payload["image"], dtype=float)
        if image.shape != (SIDE, SIDE):
            raise ValueError(f"image must be {SIDE} rows of {SIDE} values, not of shape {image.shape}")
        scores = self.model.decision_function(image.reshape(1, -1))[0]
        second, first = np.sort(scores)[-2:]
        # .item() and round(): results must be plain JSON values, not numpy's.
        return {**payload, "digit": self.model.classes_[scores.argmax()].item(), "margin": round(float(first - second), 2)}
