"""What should exist for an actor: spec × settings → manifests. Pure; called by `reconcile` and by chart tests.

Knows no cluster: what is there already is `plan`'s to compare.
"""

from asya_operator.desired.children import Desired, desired_children

__all__ = ["Desired", "desired_children"]
