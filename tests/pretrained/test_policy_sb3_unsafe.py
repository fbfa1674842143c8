"""Archives that are damaged or meant to harm: nothing in them is ever run, and the remedy is named."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.policy_request import PolicyRequest
from newgameplus.pretrained.policy_sources import load_policy_source
from newgameplus.recipe_agent import AgentModelSettings


class Harm:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def _space(kind: str, **fields: Any) -> dict[str, Any]:
    return {":type:": f"<class 'gymnasium.spaces.{kind.lower()}.{kind}'>", ":serialized:": "gASV", **fields}


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "mlp_extractor.policy_net.0.weight": (8, 4),
        "mlp_extractor.policy_net.0.bias": (8,),
        "mlp_extractor.value_net.0.weight": (8, 4),
        "mlp_extractor.value_net.0.bias": (8,),
        "action_net.weight": (2, 8),
        "action_net.bias": (2,),
        "value_net.weight": (1, 8),
        "value_net.bias": (1,),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _data() -> dict[str, Any]:
    return {
        "policy_class": {":type:": "x", ":serialized:": "gASV", "__module__": "stable_baselines3.common.policies"},
        "policy_kwargs": {},
        "observation_space": _space(
            "Box", dtype="float32", _shape=[4], low="[-4.8 -inf -0.4 -inf]", high="[4.8 inf 0.4 inf]"
        ),
        "action_space": _space("Discrete", n="2", start="0", _shape=[], dtype="int64"),
        "clip_range": 0.2,
    }


def _saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _archive(path: Path, **members: bytes | None) -> Path:
    content: dict[str, bytes | None] = {"data": json.dumps(_data()).encode(), "policy.pth": _saved(_tensors())}
    content |= {name.replace("_pth", ".pth"): value for name, value in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)
    return path


def _refused(path: Path, said: str, **options: Any) -> None:
    settings = AgentModelSettings(start="sb3:x", options=options)
    with pytest.raises(PretrainedModelError, match=said) as caught:
        load_policy_source(f"sb3:{path}", PolicyRequest(settings=settings))
    assert "remedy" in str(caught.value)


def test_the_archive_of_these_tests_can_be_read(tmp_path: Path) -> None:
    policy = load_policy_source(f"sb3:{_archive(tmp_path / 'a.zip')}")
    assert policy.facts["algorithm"] == "PPO"
    assert policy.shape.actor == policy.shape.critic == (8,)


def test_pickles_beside_the_weights_are_never_touched(tmp_path: Path) -> None:
    mark = tmp_path / "harmed"
    harm = pickle.dumps(Harm(mark))
    pickle.loads(harm).close()  # it would work
    mark.unlink()
    data = _data()
    for value in data.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value[":serialized:"] = base64.b64encode(harm).decode()
    data["lr_schedule"] = {":type:": "function", ":serialized:": base64.b64encode(harm).decode()}
    data["policy_kwargs"] = {":type:": "dict", ":serialized:": base64.b64encode(harm).decode(), "net_arch": "[8]"}
    path = _archive(
        tmp_path / "a.zip",
        data=json.dumps(data).encode(),
        pytorch_variables_pth=_saved({"x": Harm(mark)}),
        **{"policy.optimizer.pth": harm},
    )
    load_policy_source(f"sb3:{path}")
    assert not mark.exists()


@pytest.mark.parametrize("how", ["torch", "torch-within", "pickle", "legacy"])
def test_a_pickle_for_weights_is_never_run(how: str, tmp_path: Path) -> None:
    mark = tmp_path / "harmed"
    if how == "pickle":
        content = pickle.dumps({"x": Harm(mark)})
    elif how == "legacy":
        buffer = io.BytesIO()
        torch.save({"x": Harm(mark)}, buffer, _use_new_zipfile_serialization=False)
        content = buffer.getvalue()
    else:
        content = _saved({**_tensors(), "x": Harm(mark)} if how == "torch-within" else Harm(mark))
    _refused(_archive(tmp_path / "a.zip", policy_pth=content), "more than tensors" if "torch" in how else "torch 1.6")
    assert not mark.exists()


def test_a_pickle_for_statistics_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "harmed"
    path = _archive(tmp_path / "a.zip")
    statistics = tmp_path / "vecnormalize.pkl"
    statistics.write_bytes(pickle.dumps(Harm(mark)))
    _refused(path, "no statistics", normalizer=str(statistics))
    np.savez(tmp_path / "n.npz", mean=np.array([Harm(mark)], dtype=object), allow_pickle=True)
    _refused(path, "no statistics", normalizer=str(tmp_path / "n.npz"))
    assert not mark.exists()


def test_statistics_that_do_not_fit(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.zip")
    np.savez(tmp_path / "short.npz", mean=np.zeros(3), var=np.ones(3))
    _refused(path, "not 4 finite numbers", normalizer=str(tmp_path / "short.npz"))
    np.savez(tmp_path / "nan.npz", mean=np.full(4, np.nan), var=np.ones(4))
    _refused(path, "not 4 finite numbers", normalizer=str(tmp_path / "nan.npz"))
    np.savez(tmp_path / "other.npz", **{"mean/other": np.zeros(4), "var/other": np.ones(4)})
    _refused(path, "'other'", normalizer=str(tmp_path / "other.npz"))
    _refused(path, "no statistics", normalizer=str(tmp_path / "none.npz"))


def test_members_that_are_missing_or_damaged(tmp_path: Path) -> None:
    _refused(tmp_path / "none.zip", "no such file")
    (tmp_path / "text.zip").write_text("no archive")
    _refused(tmp_path / "text.zip", "no zip")
    _refused(_archive(tmp_path / "a.zip", data=None), "'data' is missing")
    _refused(_archive(tmp_path / "b.zip", policy_pth=None), "'policy.pth' is missing")
    _refused(_archive(tmp_path / "c.zip", data=b"{not json"), "no JSON")
    _refused(_archive(tmp_path / "d.zip", data=b"[" * 100_000), "no JSON")
    _refused(_archive(tmp_path / "e.zip", policy_pth=_saved(_tensors())[:900]), "zip|read")
    whole = _archive(tmp_path / "f.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    _refused(tmp_path / "cut.zip", "no zip")
    place = whole.index(b"mlp_extractor") + 400
    (tmp_path / "bit.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    _refused(tmp_path / "bit.zip", "damaged")


def test_stable_baselines_2(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        for name in ("data", "parameter_list", "parameters"):
            archive.writestr(name, "{}")
    _refused(tmp_path / "old.zip", "Stable Baselines 2")


def test_names_in_an_archive_write_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = _archive(folder / "a.zip", **{"../outside": b"x", str(tmp_path / "absolute"): b"x"})
    load_policy_source(f"sb3:{path}")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in"]
    assert [one.name for one in folder.iterdir()] == ["a.zip"]


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("data", json.dumps(_data()))
        archive.writestr("policy.pth", bytes(200 << 20))
    _refused(path, "as no weights do")
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("archive/data.pkl", bytes(200 << 20))
    _refused(_archive(tmp_path / "nested.zip", policy_pth=inner.getvalue()), "would unpack")


def test_weights_that_cannot_be(tmp_path: Path) -> None:
    def archive(**changes: Any) -> Path:
        tensors = {**_tensors(), **{key.replace("__", "."): value for key, value in changes.items()}}
        kept = {name: value for name, value in tensors.items() if value is not None}
        return _archive(tmp_path / "w.zip", policy_pth=_saved(kept))

    _refused(archive(action_net__bias=torch.tensor([0.0, float("nan")])), "NaN")
    _refused(archive(action_net__bias=None), "action_net.bias.* is missing")
    _refused(archive(action_net__weight=torch.zeros(2, 8).to_sparse()), "sparse")
    _refused(archive(action_net__weight=torch.zeros(1).expand(2_000_000_000, 8)), "claims")
    _refused(archive(action_net__weight=torch.zeros(3, 8), action_net__bias=torch.zeros(3)), "answers 3")
    _refused(archive(extra__weight=torch.zeros(3)), "extra.weight")
    _refused(archive(log_std=torch.zeros(2)), "log_std")
    _refused(
        archive(
            **{"mlp_extractor.policy_net.1.weight": torch.zeros(8), "mlp_extractor.policy_net.1.bias": torch.zeros(8)}
        ),
        "layer",
    )
    _refused(archive(action_net__bias=3), "no tensor")


def test_spaces_that_cannot_be(tmp_path: Path) -> None:
    def archive(**changes: Any) -> Path:
        return _archive(tmp_path / "s.zip", data=json.dumps({**_data(), **changes}).encode())

    _refused(archive(observation_space=None), "observation_space cannot be read")
    _refused(archive(observation_space=_space("Text", max_length=3)), "observation_space cannot be read")
    _refused(archive(observation_space=_space("Dict", spaces="{'a': Dict('b': Discrete(2))}")), "cannot be read")
    _refused(archive(observation_space=_space("Discrete", n="1000000000000000")), "first layer takes 4")
    _refused(archive(action_space=_space("Discrete", n="many")), "action_space cannot be read")
    _refused(archive(action_space=_space("Discrete", n="99999999999999999999")), "answers 2")


def test_options_that_cannot_be(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.zip")
    _refused(path, "no option 'normaliser'", normaliser="x")
    _refused(path, "temperature", temperature=0)


def test_settings_that_are_not_known_are_not_taken_for_the_usual_ones(tmp_path: Path) -> None:
    def archive(**settings: Any) -> Path:
        printed = {":type:": "<class 'dict'>", ":serialized:": "gASV", **settings}
        return _archive(tmp_path / "k.zip", data=json.dumps({**_data(), "policy_kwargs": printed}).encode())

    usual = archive(activation_fn="<class 'torch.nn.modules.activation.ReLU'>")
    assert load_policy_source(f"sb3:{usual}").shape.activation == "relu"
    for value in ("<function <lambda> at 0x7f>", "functools.partial(Tanh)", "<class '__main__.Tanhish'>"):
        _refused(archive(activation_fn=value), "activation")
        _refused(archive(features_extractor_class=value), "features extractor")
    _refused(archive(squash_output="True"), "squash_output")
    own = {**_data()["policy_class"], "__module__": "__main__"}
    _refused(_archive(tmp_path / "o.zip", data=json.dumps({**_data(), "policy_class": own}).encode()), "user's own")
