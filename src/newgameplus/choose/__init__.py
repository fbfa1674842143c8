"""Step 1: choose a pretrained model, by measurement on the user's own data."""

from newgameplus.choose.ranking import Candidate, Choice, rank_candidates
from newgameplus.choose.scores import leave_one_out_knn

__all__ = ["Candidate", "Choice", "leave_one_out_knn", "rank_candidates"]
