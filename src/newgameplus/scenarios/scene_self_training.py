"""What self-training learns from in the scene scenario: own levels that the rules pass and no map is like."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.evaluate.scene_evaluation import judge
from newgameplus.evaluate.scene_metrics import NearestLevels, far_apart
from newgameplus.games.measures import measure
from newgameplus.games.rules.contract import Answer, Budget
from newgameplus.games.scenes import Level
from newgameplus.pretrained.tile_model import TileModel
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.run import Run
from newgameplus.scenarios.scene_data import SceneGame
from newgameplus.scenarios.scene_makers import draw_sizes, make_sampler, sample_raw
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.levels import LevelExample
from newgameplus.train.self_training import even_out

__all__ = ["SelfMade", "describe_rounds"]

Round = dict[str, int]
_CHUNK = 48
"""Levels made between two savings."""
_EVENED = "difficulty"
"""What verified levels should be spread over as the maps are."""
_NODES = 20_000
"""States that the solver may look at for one level: one that takes longer to prove is not learned from."""


@dataclass(eq=False)
class SelfMade:
    """Levels that one arm made of itself, round by round; what is in the run folder is not made again.

    Attributes:
        run: The run that keeps them.
        game: The maps.
        recipe: The recipe.
        model: The model, which changes from round to round.
        arm: Name of the arm.
    """

    run: Run
    game: SceneGame
    recipe: SceneRecipe
    model: TileModel
    arm: str

    def __post_init__(self) -> None:
        self.rounds: list[Round] = []
        self._pool: list[tuple[Level, Answer]] = []

    @cached_property
    def _nearest(self) -> NearestLevels:
        return NearestLevels(self.game.known)

    @cached_property
    def _difficulties(self) -> npt.NDArray[np.float64]:
        """What is evened out, of the maps that are learned from."""
        maps = [(self.game.levels[n], self.game.answers[n]) for n in self.game.train] if self.game.answers else []
        return np.array([measure(level, [_EVENED], answer)[_EVENED] for level, answer in maps], np.float64)

    def gather(self, number: int) -> list[LevelExample]:
        """Return the verified levels of a round and of those before it as examples, with their mirror images.

        Levels are drawn by a seed of their own for each arm, round and chunk; solved within a number of states, not
        seconds; and of levels too near each other the first stays. So the same model gives the same examples.
        """
        made, playable, fresh, before = 0, 0, 0, len(self._pool)
        sizes = draw_sizes(self.game, self.recipe, self.recipe.train.self_training_levels, self._seed(number, 0))
        for chunk, start in enumerate(range(0, len(sizes), _CHUNK)):
            name = f"{self.arm}.round-{number}.levels-{chunk}"
            note = self.run.note(name)
            if note is None:
                note = self.run.keep_note(name, self._make(number, chunk, sizes[start : start + _CHUNK]))
            with self.run.noted(name):
                made, playable = made + int(note["made"]), playable + int(note["playable"])
                template = self.game.levels[0]
                levels = [template.with_tiles(np.array(rows, np.int32), str(title)) for title, rows in note["good"]]
            fresh += len(levels)
            answers = self._solve(levels, f"proving round {number}, {self.arm}")
            self._pool += [pair for pair in zip(levels, answers, strict=True) if pair[1].playable]
        kept = far_apart([level for level, _ in self._pool], max(1, self.recipe.generate.min_distance))
        self._pool = [self._pool[place] for place in kept]
        told = {"made": made, "playable": playable, "new": fresh, "learned": len(self._pool) - before}
        self.rounds.append(told)
        progress.say(f"  {describe_rounds(self.arm, [told], number)}; {len(self._pool)} in all")
        hard = np.array([measure(level, [_EVENED], answer)[_EVENED] for level, answer in self._pool], np.float64)
        factors = even_out(self._difficulties, hard).tolist()
        return [
            example
            for (level, answer), factor in zip(self._pool, factors, strict=True)
            for example in self._examples(level, answer, factor)
        ]

    def _seed(self, number: int, chunk: int) -> int:
        words = (self.recipe.seed, zlib.crc32(self.arm.encode()), number, chunk)
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def _make(self, number: int, chunk: int, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """Make some levels; keep those that can be played, are whole, and are no copies of a map."""
        sampler = make_sampler(self.model, self.game, self.recipe)
        title = f"round {number} of {self.recipe.train.self_training_rounds}, {self.arm}"
        with using_threads(threads_for(self.model.network, self.recipe.train, decoding=True)):
            raw = sample_raw(sampler, self.game, sizes, self._seed(number, chunk + 1), title)
        answers = self._solve(raw.levels, f"solving, {title}")
        playable = [level for level, answer in zip(raw.levels, answers, strict=True) if answer.playable]
        least = max(1, self.recipe.generate.min_distance)
        good = [
            (f"round {number}, {chunk * _CHUNK + place}", level.tiles.tolist())
            for place, level in enumerate(playable)
            if not self.game.rules.flaws(level) and self._nearest.find(level).distance >= least
        ]
        return {"made": len(sizes), "playable": len(playable), "good": good}

    def _solve(self, levels: Sequence[Level], title: str) -> list[Answer]:
        nodes = min(self.recipe.generate.solver_nodes, _NODES)
        return judge(levels, self.game.rules, Budget(nodes=nodes), title)

    def _examples(self, level: Level, answer: Answer, factor: float) -> list[LevelExample]:
        values = measure(level, self.game.measures, answer)
        mirror = self.recipe.data.mirror == "auto"
        images = self.game.images(level, answer.proof, values, self.recipe.data.scan, mirror=mirror)
        return [replace(image, weight=factor * image.scan.shape[0]) for image in images]


def describe_rounds(arm: str, rounds: Sequence[Round], first: int = 1) -> str:
    """Say in a line what came of some rounds."""
    total = {key: sum(one[key] for one in rounds) for key in ("made", "playable", "new", "learned")}
    which = f"round {first}" if len(rounds) == 1 else f"rounds {first} to {first + len(rounds) - 1}"
    return (
        f"{arm}, {which}: made {total['made']} levels, {total['playable']} playable, {total['new']} of them new, "
        f"{total['learned']} learned"
    )
