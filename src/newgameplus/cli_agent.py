"""The verbs of the command line that play, operate on and record policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from newgameplus.console import Answered, answer

__all__ = ["play", "record_env", "surgery"]

_Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
_OPTIONS = "KEY=VALUE keyword of the environment; may be repeated."


def play(
    run: Annotated[str, typer.Argument(help="Run folder, or a policy such as sb3:old.zip (with --env).")],
    episodes: Annotated[int, typer.Option(help="How many episodes.")] = 5,
    env: Annotated[str | None, typer.Option("--env", help="Another game; default the run's own.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help=_OPTIONS)] = None,
    level: Annotated[
        float | None, typer.Option(help="Strength from 0 (random) to 1 (full), by measured score; calibrated once.")
    ] = None,
    by: Annotated[str, typer.Option(help="What makes it weaker: temperature, delay, randomness or snapshot.")] = "auto",
    seed: Annotated[int, typer.Option(help="The same seed plays the same games.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="0 always takes the likeliest action.")] = None,
    delay: Annotated[int | None, typer.Option(help="Steps that it reacts late.")] = None,
    video: Annotated[Path | None, typer.Option(help="Write the episodes to this video (.mp4).")] = None,
    as_json: _Json = False,
) -> None:
    """Let a policy play: a table of returns with intervals, and a video if wanted."""

    def work() -> Answered:
        from newgameplus import verbs
        from newgameplus.cli_agent_text import play_text, read_options

        played = verbs.play(
            run, episodes, env=env, options=read_options(option), level=level, by=by, seed=seed,
            temperature=temperature, delay=delay, video=video,
        )  # fmt: skip
        return played, play_text(played)

    answer("play", as_json, work)


def surgery(
    run: Annotated[str, typer.Argument(help="Run folder, or a policy such as sb3:old.zip.")],
    out: Annotated[Path, typer.Option(help="New run folder for the policy that fits the new game.")],
    env: Annotated[str | None, typer.Option("--env", help="Game with the new spaces; default the run's own.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help=_OPTIONS)] = None,
    map_obs: Annotated[
        str, typer.Option("--map-obs", help="What was seen -> what is seen: 'hp:0..3->0..3,mana:new'.")
    ] = "",
    map_actions: Annotated[str, typer.Option("--map-actions", help="'jump->leap,dash:new,idle:removed'.")] = "",
    wider: Annotated[str, typer.Option("--wider", help="Layers to widen or add: 'actor=128,128 critic=256'.")] = "",
    memory_width: Annotated[int | None, typer.Option(help="Wider recurrent state.")] = None,
    new_action_probability: Annotated[
        float, typer.Option(help="Mean probability that each new action starts at.")
    ] = 0.01,
    episodes: Annotated[int, typer.Option(help="Episodes to measure the score at step 0 with; 0 measures none.")] = 20,
    plan_only: Annotated[bool, typer.Option("--plan", help="Print the plan; operate on nothing.")] = False,
    as_json: _Json = False,
) -> None:
    """Fit a policy to changed spaces without changing what it does: plan, operate, prove, measure."""

    def work() -> Answered:
        from newgameplus import verbs
        from newgameplus.cli_agent_text import read_options, surgery_text

        done = verbs.surgery(
            run, out, env=env, options=read_options(option), map_obs=map_obs, map_actions=map_actions, wider=wider,
            memory_width=memory_width, new_action_probability=new_action_probability, episodes=episodes,
            plan_only=plan_only,
        )  # fmt: skip
        return done, surgery_text(done)

    answer("surgery", as_json, work)


def record_env(
    env: Annotated[str, typer.Option("--env", help="Gymnasium id, module:function or file.py:function.")],
    out: Annotated[Path, typer.Option(help="New folder for the recording (a Minari data set).")],
    policy: Annotated[
        str, typer.Option(help="Run folder, sb3:FILE.zip, expert (MiniGrid, BabyAI), random, or keyboard.")
    ] = "random",
    option: Annotated[list[str] | None, typer.Option("--option", help=_OPTIONS)] = None,
    episodes: Annotated[int, typer.Option(help="How many episodes.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same recording.")] = 0,
    success_only: Annotated[bool, typer.Option("--success-only", help="Keep only episodes that succeed.")] = False,
    temperature: Annotated[float, typer.Option(help="Of the policy; 0 takes the likeliest action.")] = 1.0,
    keys: Annotated[str, typer.Option(help="For keyboard: KEY=ACTION,...; default what the game says.")] = "",
    as_json: _Json = False,
) -> None:
    """Record episodes of any Gymnasium environment, by a policy or by hand."""

    def work() -> Answered:
        from newgameplus import verbs
        from newgameplus.cli_agent_text import read_options, recording_text

        options = read_options(option)
        made = verbs.record_env(
            env, out, policy=policy, options=options, episodes=episodes, seed=seed,
            success_only=success_only, temperature=temperature, keys=keys,
        )  # fmt: skip
        return made, recording_text(made, options)

    answer("record", as_json, work)
