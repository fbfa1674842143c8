"""Checkpoints that cannot be used say which file is wrong and what to do, and no code from them ever runs."""

from __future__ import annotations

import http.server
import json
import pickle
import shutil
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("transformers")

import huggingface_hub
import transformers
from transformers.utils import logging as transformers_logging

from newgameplus.errors import MissingExtraError, PretrainedModelError
from newgameplus.pretrained import checkpoint_folder, transformers_blueprint
from newgameplus.pretrained.catalog import describe_pretrained, load_pretrained, rebuild_pretrained
from newgameplus.pretrained.local import is_here
from newgameplus.pretrained.nearest import nearest_models
from newgameplus.pretrained.preprocessing import read_preprocessing


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    transformers_logging.disable_progress_bar()
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": 32, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})
    )
    transformers_logging.enable_progress_bar()
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "my model"))


def refusal(folder: Path | str, **options) -> PretrainedModelError:
    with pytest.raises(PretrainedModelError) as caught:
        load_pretrained(f"transformers:{folder}", options=options)
    assert all(problem.source and problem.remedy for problem in caught.value.problems)
    return caught.value


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_that_is_not_there(tmp_path):
    assert "there is no such folder" in str(refusal(tmp_path / "nowhere"))
    assert "there is no such folder" in str(refusal("./nowhere"))


def test_a_file_instead_of_its_folder(folder):
    assert str(folder) in refusal(folder / "config.json").remedy


def test_an_empty_folder(tmp_path):
    assert "config.json" in refusal(tmp_path).message


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal(folder).message


def test_pickled_weights_are_refused_and_never_opened(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    trace = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (trace,))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    error = refusal(folder)
    assert "pytorch_model.bin" in error.message
    assert "save_pretrained" in error.remedy
    assert not trace.exists()


def test_safetensors_are_taken_even_when_pickles_stand_beside_them(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    assert load_pretrained(f"transformers:{folder}").backbone.feature_dim == 32


def test_code_in_the_folder_is_never_run(folder, tmp_path):
    trace = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(trace)!r}, 'w').close()")
    change_json(folder / "config.json", model_type="own", auto_map={"AutoModel": "modeling_own.Own"})
    error = refusal(folder)
    assert "own code, which is never run" in error.message
    change_json(folder / "config.json", model_type="resnet")
    assert load_pretrained(f"transformers:{folder}").card.family == "resnet"
    assert not trace.exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "\x00"])
def test_a_damaged_configuration(folder, content):
    (folder / "config.json").write_text(content)
    assert refusal(folder).source == str(folder / "config.json")


@pytest.mark.parametrize(
    "changes", [{"depths": "many"}, {"model_type": None}, {"model_type": "resnot"}, {"hidden_sizes": [8, -16]}]
)
def test_a_configuration_that_means_nothing(folder, changes):
    change_json(folder / "config.json", **changes)
    refusal(folder)


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_truncated_weights(folder, size):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    error = refusal(folder)
    assert "damaged" in error.message
    assert error.source == str(weights)


def test_all_missing_and_misshapen_weights_are_named(folder):
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["resnet.embedder.embedder.convolution.weight"], tensors["classifier.1.weight"]
    tensors["classifier.1.bias"] = torch.zeros(5)
    save_file(tensors, weights, metadata={"format": "pt"})
    messages = [problem.message for problem in refusal(folder).problems]
    assert messages[:2] == [
        "weights are missing: classifier.1.weight",
        "weights are missing: resnet.embedder.embedder.convolution.weight",
    ]
    assert "classifier.1.bias" in messages[2]
    assert "(5,) in the file, (3,) in the network" in messages[2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(folder, value):
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    tensors["resnet.embedder.embedder.convolution.weight"][0, 0, 0, 0] = value
    save_file(tensors, weights, metadata={"format": "pt"})
    error = refusal(folder)
    assert "not finite numbers" in error.message
    assert "resnet.embedder.embedder.convolution.weight" in error.message


@pytest.mark.parametrize(
    ("config_class", "model_class"), [("BertConfig", "BertModel"), ("GPT2Config", "GPT2LMHeadModel")]
)
def test_a_language_model_reads_numbers_and_needs_its_weights_too(tmp_path, config_class, model_class):
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = getattr(transformers, config_class)(
        **small, vocab_size=99, bos_token_id=1, eos_token_id=2, architectures=[model_class]
    )
    config.save_pretrained(tmp_path)
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    error = refusal(tmp_path)
    assert "weights of this checkpoint cannot be used" in error.message
    assert any("weights are missing" in problem.message for problem in error.problems)
    assert "takes numbers over time" in refusal(tmp_path, frames=4).message


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"size": "large"}, "size"),
        ({"size": {"height": 32, "width": -1}}, "size"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_mean": ["a", "b", "c"]}, "image_mean"),
        ({"image_std": [0.2, 0.2, 0.0]}, "image_std"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
    ],
)
def test_preprocessing_that_means_nothing_names_file_and_field(folder, changes, key):
    change_json(folder / "preprocessor_config.json", **changes)
    error = refusal(folder)
    assert error.message.startswith(f"{key} is ")
    assert error.source == str(folder / "preprocessor_config.json")


def test_an_index_that_lists_nothing(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "weight_map" in refusal(folder).message


@pytest.mark.parametrize("name", ["a b/c", "owner/na?me", "--/--"])
def test_a_name_that_the_hub_cannot_have(name):
    assert "neither a folder here nor a name on the hub" in refusal(name).message


@pytest.fixture
def unplugged(monkeypatch, tmp_path):
    """A machine with an empty hub cache and no network."""

    def refuse(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_without_a_network_it_says_how_to_bring_the_files(unplugged, capfd):
    error = refusal("microsoft/resnet-50")
    assert "cannot be fetched" in error.message
    assert "hf download microsoft/resnet-50" in error.remedy
    assert "model.safetensors" in error.remedy
    assert "transformers:./resnet-50" in error.remedy
    assert "Traceback" not in capfd.readouterr().err


def test_a_network_that_swallows_everything_does_not_hang(unplugged, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(unplugged))
    monkeypatch.setattr(checkpoint_folder, "_HUB_TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        known = huggingface_hub.HfApi
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: known(endpoint=endpoint))
        began = time.monotonic()
        assert "cannot be fetched" in refusal("microsoft/resnet-50").message
    assert time.monotonic() - began < 10


def test_a_repository_with_pickled_weights_only_is_refused_before_it_is_fetched(unplugged, monkeypatch):
    files = [SimpleNamespace(rfilename=name) for name in ("config.json", "pytorch_model.bin")]
    about = SimpleNamespace(siblings=files, sha="c" * 40)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=lambda *_, **__: about))
    error = refusal("owner/old")
    assert "only pytorch_model.bin, which can run any program" in error.message
    assert not (unplugged / "models--owner--old").exists()


def test_offline_mode_is_said_to_be_the_reason(unplugged, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal("microsoft/resnet-50").remedy


def test_what_is_in_the_cache_needs_no_network(unplugged, whole):
    cached(unplugged, whole)
    model = load_pretrained("transformers:owner/tiny")
    assert model.card.name == "transformers:owner/tiny"
    assert model.card.facts["revision"] == "c" * 40


def test_a_cache_that_lacks_the_weights_is_not_taken_for_the_model(unplugged, whole):
    snapshot = cached(unplugged, whole)
    (snapshot / "model.safetensors").unlink()
    assert "cannot be fetched" in refusal("owner/tiny").message or "no weights" in refusal("owner/tiny").message


@pytest.fixture
def hub(whole, tmp_path, monkeypatch):
    """A hub on this machine that has owner/tiny; it lists the files that were asked for."""
    asked, sha = [], "d" * 40

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            files = sorted(whole.iterdir())
            if path.startswith("/api/models/owner/tiny/tree"):
                rows = [{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0"} for file in files]
                self.answer(json.dumps(rows).encode())
            elif path.startswith("/api/models/owner/tiny"):
                told = {"id": "owner/tiny", "sha": sha, "siblings": [{"rfilename": file.name} for file in files]}
                self.answer(json.dumps(told).encode())
            elif path.startswith(f"/owner/tiny/resolve/{sha}/") and (whole / name).is_file():
                asked.append(name)
                self.answer((whole / name).read_bytes())
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def answer(self, body):
            self.send_response(200)
            headers = {"ETag": f'"{hash(body):x}"', "X-Repo-Commit": sha, "Content-Length": str(len(body))}
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    template = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield asked
    server.shutdown()
    server.server_close()


def test_describing_fetches_no_weights_and_loading_then_does(hub):
    described = describe_pretrained("transformers:owner/tiny")
    assert set(hub) == {"config.json", "preprocessor_config.json"}
    assert described.shape.height == 32
    assert not is_here(described)
    model = load_pretrained("transformers:owner/tiny")
    assert "model.safetensors" in hub
    assert (described.parameters, described.labels) == (model.card.parameters, model.card.labels)
    assert is_here(model.card)


def cached(hub: Path, whole: Path) -> Path:
    """Lay a checkpoint into the hub's cache as a download would."""
    repository = hub / "models--owner--tiny"
    snapshot = repository / "snapshots" / ("c" * 40)
    shutil.copytree(whole, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    return snapshot


def test_without_transformers_it_says_what_to_install(monkeypatch, folder):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="newgameplus") as caught:
        load_pretrained(f"transformers:{folder}")
    assert caught.value.remedy == 'pip install "newgameplus[transformers]"'


def test_a_broken_torchvision_is_named_with_its_remedy(monkeypatch, folder):
    monkeypatch.setattr(
        transformers_blueprint, "broken_torchvision", lambda: "operator torchvision::nms does not exist"
    )
    error = refusal(folder)
    assert "torchvision is installed but broken" in error.message
    assert error.remedy.startswith("pip uninstall torchvision")


def test_a_torchvision_whose_import_fails_is_found_broken(monkeypatch, tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    assert transformers_blueprint.broken_torchvision() == "operator torchvision::nms does not exist"


def test_a_card_without_its_architecture_cannot_be_rebuilt(folder):
    card = load_pretrained(f"transformers:{folder}").card
    del card.facts["config"]
    with pytest.raises(PretrainedModelError, match="lacks config"):
        rebuild_pretrained(card)


def test_the_licence_may_be_a_list_and_the_readme_anything(folder):
    readme = folder / "README.md"
    readme.write_bytes(b"\xff\xfe no front matter")
    assert checkpoint_folder.find_checkpoint(str(folder)).license == "unknown"
    readme.write_text("---\nlicense:\n- mit\n- apache-2.0\n---\n")
    assert checkpoint_folder.find_checkpoint(str(folder)).license == "mit AND apache-2.0"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (224, 200)),
        ({"size": 96}, (96, 96)),
        ({"size": [64, 48]}, (64, 48)),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 192}}, (224, 192)),
        ({"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": False}, (256, 256)),
        ({"size": {"longest_edge": 512}}, (224, 200)),
        ({"size": 96, "do_resize": False}, (224, 200)),
    ],
)
def test_the_size_is_what_the_network_gets(fields, expected):
    found = read_preprocessing(fields, channels=3, default_size=(224, 200), source="preprocessor_config.json")
    assert (found.height, found.width) == expected


def test_networks_of_values_from_minus_one_to_one():
    fields = {"rescale_factor": 1 / 127.5, "offset": True, "do_normalize": False}
    found = read_preprocessing(fields, channels=3, default_size=(8, 8), source="preprocessor_config.json")
    low, high = ((value * found.factor - found.offset - found.mean[0]) / found.std[0] for value in (0, 255))
    assert (low, high) == pytest.approx((-1, 1))


def test_names_near_to_a_wrong_one_are_offered(tmp_path, monkeypatch):
    (tmp_path / "my-resnet").mkdir()
    with pytest.raises(PretrainedModelError) as caught:
        load_pretrained(f"transformers:{tmp_path / 'my-resnett'}")
    assert f"did you mean {tmp_path / 'my-resnet'}?" in str(caught.value.remedy)

    assert "did you mean microsoft/resnet-50" in nearest_models("microsoft/resnet50")
    assert "google/vit-base-patch16-224" in nearest_models("vit-base-patch16")
    assert nearest_models("zzzz/qqqq") == ""

    cached = tmp_path / "models--studio--orc-watcher" / "snapshots" / "1"
    cached.mkdir(parents=True)
    (cached / "config.json").write_text("{}")
    (cached / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "did you mean studio/orc-watcher?" in nearest_models("studio/orc-wacher")
