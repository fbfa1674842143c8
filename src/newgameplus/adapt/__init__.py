"""Step 2: meet the new task: a head for its classes, and a strategy that says how weights may move."""

from newgameplus.adapt.classifier import ClipClassifier, StandardizedHead
from newgameplus.adapt.freezing import apply_phase, parameter_groups, trainable_parameters, training_mode
from newgameplus.adapt.phases import Phase
from newgameplus.adapt.strategies import STRATEGIES, plan_phases

__all__ = [
    "STRATEGIES",
    "ClipClassifier",
    "Phase",
    "StandardizedHead",
    "apply_phase",
    "parameter_groups",
    "plan_phases",
    "trainable_parameters",
    "training_mode",
]
