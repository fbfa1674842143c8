"""New Game+: fine-tune pretrained models for your game, with evidence that it helped.

Every verb of the command line is a function of the same name in :mod:`newgameplus.verbs`.
"""

__version__ = "0.1.0"
