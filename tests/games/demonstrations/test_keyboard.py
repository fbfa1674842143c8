"""Playing with the keyboard: in a window, in a terminal, and by a script; what is kept is recorded."""

from __future__ import annotations

import os
import pty
import threading

import gymnasium
import numpy as np
import pytest

from newgameplus.errors import DataError, GameError
from newgameplus.games.demonstrations import load_demonstrations
from newgameplus.games.environments import describe_spaces
from newgameplus.games.record.keyboard import record_keyboard
from newgameplus.games.record.keyboard_keys import key_map
from newgameplus.games.record.keyboard_screens import TerminalScreen, WindowScreen, open_screen
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import ActionSpec

EMPTY = EnvironmentSettings(id="MiniGrid-Empty-5x5-v0")
WIN = ["up", "up", "right", "w", "w"]


class Script:
    """Presses keys in a row, and remembers what was shown."""

    def __init__(self, keys):
        self.keys = list(keys)
        self.shown = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def show(self, picture, lines):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        self.shown.append("\n".join(lines))

    def key(self, seconds):
        return self.keys.pop(0)


def load(folder, settings=EMPTY):
    observations, actions = describe_spaces(settings)
    return load_demonstrations(folder, observations=observations, actions=actions).episodes


def test_what_is_kept_is_recorded_and_nothing_else(tmp_path):
    keys = [*WIN, "n", "left", "left", "left", "left", *WIN, "y", *WIN, "?", "return"]
    screen = Script(keys)
    made = record_keyboard(EMPTY, 2, tmp_path / "demos", screen=screen)
    assert made.lengths == (9, 5)
    assert made.successes == (True, True)
    found = load(tmp_path / "demos")
    assert [one.actions.tolist() for one in found] == [[0, 0, 0, 0, 2, 2, 1, 2, 2], [2, 2, 1, 2, 2]]
    assert any("keep this episode?" in text for text in screen.shown)
    assert any("up: forward" in text for text in screen.shown)
    assert screen.keys == []


def test_escape_keeps_what_was_kept_and_backspace_begins_anew(tmp_path):
    made = record_keyboard(
        EMPTY, 9, tmp_path / "demos", screen=Script(["left", "backspace", *WIN, "y", "up", "escape"])
    )
    assert made.lengths == (5,)
    assert len(load(tmp_path / "demos")) == 1
    made = record_keyboard(EMPTY, 9, tmp_path / "none", screen=Script(["up", "escape"]))
    assert made.lengths == ()
    assert not (tmp_path / "none").exists()
    record_keyboard(EMPTY, 1, tmp_path / "demos", screen=Script(["left", "right", *WIN, "y"]), append=True)
    assert len(load(tmp_path / "demos")) == 2


def test_a_game_that_goes_on_by_itself_idles_without_a_key(tmp_path):
    screen = Script([None, None, "left", *[None] * 200])

    class Waiting(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        action_names = ("noop", "left")
        metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
        render_mode = "rgb_array"

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.time = 0
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.time += 1
            return np.array([self.time], np.float32), float(action), self.time == 5, False, {}

        def render(self):
            return np.zeros((4, 4, 3), np.uint8)

    gymnasium.register("Waiting-v0", lambda **options: Waiting())
    try:
        screen.keys[5] = "y"
        record_keyboard(EnvironmentSettings(id="Waiting-v0"), 1, tmp_path / "demos", screen=screen)
        assert load(tmp_path / "demos", EnvironmentSettings(id="Waiting-v0"))[0].actions.tolist() == [0, 0, 1, 0, 0]
    finally:
        del gymnasium.registry["Waiting-v0"]


def test_a_window_hears_keys(tmp_path, monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    screen = WindowScreen()
    queue = [*WIN, "y"]

    class Typing(WindowScreen):
        def show(self, picture, lines):
            super().show(picture, lines)
            if queue:
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(queue.pop(0))))

    made = record_keyboard(EMPTY, 1, tmp_path / "demos", screen=Typing())
    assert made.lengths == (5,)
    with screen:
        screen.show(np.zeros((20, 30, 3), np.uint8), ["hello"])
        pygame.event.clear()
        assert screen.key(0.01) is None
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert screen.key(None) == "escape"


def test_a_terminal_hears_keys_and_draws(tmp_path):
    ours, theirs = pty.openpty()
    typed = b"\x1b[A" * 2 + b"\x1b[C" + b"ww" + b"y"
    drawn = bytearray()

    def look():
        while True:
            try:
                content = os.read(ours, 65536)
            except OSError:
                return
            if b"\x1b[?1049h" in content:
                os.write(ours, typed)  # what is typed before is thrown away
            drawn.extend(content)
            if b"\x1b[?1049l" in drawn:
                return

    looking = threading.Thread(target=look)
    looking.start()
    made = record_keyboard(EMPTY, 1, tmp_path / "demos", screen=TerminalScreen(theirs, theirs))
    looking.join(10)
    os.close(ours)
    os.close(theirs)
    assert made.lengths == (5,)
    text = drawn.decode("utf-8")
    assert "\u2580" in text
    assert "keep this episode?" in text
    assert load(tmp_path / "demos")[0].actions.tolist() == [2, 2, 1, 2, 2]


def test_names_of_keys_in_a_terminal():
    ours, theirs = pty.openpty()
    screen = TerminalScreen(theirs, theirs)
    with screen:
        os.write(ours, b"\x1b[D\x1bOBa \r\x7f\t\xc3\xa9")
        found = [screen.key(1.0) for _ in range(8)]
        assert found == ["left", "down", "a", "space", "return", "backspace", "tab", "é"]
        assert screen.key(0.01) is None
        os.write(ours, b"\x1b")
        assert screen.key(1.0) == "escape"
    os.close(ours)
    os.close(theirs)


def test_keys_by_names_by_the_game_and_by_the_player():
    spec = ActionSpec("discrete", (4,), names=("noop", "left", "dash", "dance"))
    found = key_map(spec)
    assert {key: int(action) for key, action in found.actions.items()} == {
        "return": 0,
        "left": 1,
        "a": 1,
        "d": 2,
        "n": 3,
    }
    assert int(found.idle) == 0
    plain = key_map(ActionSpec("discrete", (3,)))
    assert {key: int(action) for key, action in plain.actions.items()} == {"0": 0, "1": 1, "2": 2}
    assert plain.idle is None

    class Told:
        def get_keys_to_action(self):
            return {"a": 1, (1073741903,): 2, (ord(" "),): 3, ("w", "d"): 0}

    told = key_map(spec, Told())
    assert {key: int(action) for key, action in told.actions.items()} == {"a": 1, "right": 2, "space": 3}
    own = key_map(spec, Told(), {"x": "dash", " ": 3})
    assert {key: int(action) for key, action in own.actions.items()} == {"x": 2, "space": 3}
    steering = key_map(ActionSpec("continuous", (2,), (-1.0, 0.0), (1.0, 1.0)), None, {"left": [-1, 0.5]})
    assert steering.actions["left"].tolist() == [-1.0, 0.5]
    buttons = key_map(ActionSpec("binary", (2,), names=("fire", "jump")))
    assert {key: action.tolist() for key, action in buttons.actions.items()} == {"space": [1, 0], "j": [0, 1]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"x": "dsh"}, "no action 'dsh'.*\n.*did you mean 'dash'"),
        ({"x": 9}, "action 9 is outside the space"),
        ({"x": [1, 2]}, "is no action"),
        ({"escape": "dash"}, "'escape' is taken"),
    ],
)
def test_keys_that_cannot_be_used(keys, message):
    with pytest.raises(GameError, match=message):
        key_map(ActionSpec("discrete", (2,), names=("noop", "dash")), None, keys)


def test_what_cannot_be_played(tmp_path):
    with pytest.raises(GameError, match="no keys are known"):
        record_keyboard(EnvironmentSettings(id="Pendulum-v1"), 1, tmp_path / "demos", screen=Script([]))
    with pytest.raises(DataError, match="0 episodes"):
        record_keyboard(EMPTY, 0, tmp_path / "demos", screen=Script([]))
    with pytest.raises(GameError, match="no screen 'tv'"):
        open_screen("tv")
    assert not (tmp_path / "demos").exists()


def test_without_display_and_terminal(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with open(os.devnull) as nothing, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", nothing)
        with pytest.raises(GameError, match="no display and no terminal"):
            open_screen("auto")
