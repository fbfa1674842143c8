"""Step 1: choose a pretrained model, by measurement on the user's own data."""

from newgameplus.choose.advice import Task, advise, similarity
from newgameplus.choose.candidates import Candidate, Choice, Cost, ShortRun
from newgameplus.choose.estimating import estimate
from newgameplus.choose.prior import Prior, static_prior
from newgameplus.choose.ranking import SCORE_WEIGHTS, combine, decide, rank_by, shortlist
from newgameplus.choose.scores import h_score, leave_one_out_knn, log_evidence

__all__ = [
    "SCORE_WEIGHTS",
    "Candidate",
    "Choice",
    "Cost",
    "Prior",
    "ShortRun",
    "Task",
    "advise",
    "combine",
    "decide",
    "estimate",
    "h_score",
    "leave_one_out_knn",
    "log_evidence",
    "rank_by",
    "shortlist",
    "similarity",
    "static_prior",
]
