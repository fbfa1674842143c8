"""The folder that holds a Transformers checkpoint: a local one, or one fetched from the Hugging Face Hub.

Only JSON and safetensors are read. Pickled weights can run any program when loaded, so they are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newgameplus import progress
from newgameplus.errors import MissingExtraError, PretrainedModelError
from newgameplus.files import digest_bytes, digest_file
from newgameplus.pretrained.nearest import nearest_folders, nearest_models

__all__ = ["CheckpointFolder", "find_checkpoint"]

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PREPROCESSING = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
_DESCRIPTION_FILES = ("config.json", *_PREPROCESSING, "README.md")
_WEIGHT_FILES = (_WEIGHTS, _INDEX, "model-*-of-*.safetensors")
_HUB_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class CheckpointFolder:
    """A checkpoint on disk.

    Attributes:
        path: The folder.
        config: What config.json says.
        weights: The safetensors files, one or several shards; empty if there are none.
        preprocessing: What preprocessor_config.json says; ``None`` without one.
        license: SPDX identifier in the front matter of README.md, or ``unknown``.
        revision: Commit on the hub; empty for a local folder.
    """

    path: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    preprocessing: Mapping[str, Any] | None
    license: str
    revision: str = ""

    @property
    def digest(self) -> str:
        """BLAKE2b digest of the weights; empty without weights."""
        if len(self.weights) <= 1:
            return digest_file(self.weights[0]) if self.weights else ""
        return digest_bytes(*(digest_file(shard).encode() for shard in self.weights))

    def weight_names(self) -> frozenset[str]:
        """Return the names of all tensors in the weights files.

        Raises:
            PretrainedModelError: A file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        names: set[str] = set()
        for shard in self.weights:
            try:
                with safe_open(str(shard), framework="pt") as tensors:
                    names.update(tensors.keys())
            except (SafetensorError, OSError) as error:
                raise PretrainedModelError(
                    f"this weights file is damaged: {error}", source=str(shard), remedy="download or copy it again"
                ) from error
        return frozenset(names)


def find_checkpoint(
    name: str, *, revision: str | None = None, weights_needed: bool = True, whole: bool = True
) -> CheckpointFolder:
    """Find a checkpoint by folder or hub name, fetching from the hub what is not in its cache yet.

    Args:
        name: A folder (``./my-folder``), or the name of a repository on the hub (``microsoft/resnet-50``).
        revision: Branch, tag or commit on the hub; ``None`` for what is in the cache, or the newest.
        weights_needed: Refuse a folder without weights; else they may be missing.
        whole: Fetch the weights of a hub's repository too; else only what describes them, and a checkpoint that is not
            in the cache comes without weights.

    Raises:
        PretrainedModelError: There is no such folder or repository, no network, or a file is missing or damaged.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _read_folder(folder, revision="", weights_needed=weights_needed)
    if folder.exists():
        raise PretrainedModelError(
            "this is a file, not a folder", source=str(folder), remedy=f"name the folder it is in: {folder.parent}"
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise PretrainedModelError(
            "there is no such folder",
            source=str(folder),
            remedy=f"{nearest_folders(folder)}check the path; it is taken from where you run ngp",
        )
    folder = _cached_snapshot(name, revision) or _download_snapshot(name, revision, whole=whole)
    return _read_folder(folder, revision=folder.name, weights_needed=weights_needed)


def _read_folder(folder: Path, *, revision: str, weights_needed: bool) -> CheckpointFolder:
    if not (folder / "config.json").is_file():
        raise PretrainedModelError(
            "there is no config.json in this folder, so it is not a Transformers checkpoint",
            source=str(folder),
            remedy="name the folder that save_pretrained() wrote: it has config.json and model.safetensors",
        )
    weights = _weight_files(folder)
    if weights_needed and not weights:
        raise _no_weights(folder)
    config = _read_json(folder / "config.json")
    return CheckpointFolder(folder, config, weights, _preprocessing(folder), _license(folder / "README.md"), revision)


def _preprocessing(folder: Path) -> Mapping[str, Any] | None:
    """Return what the first preprocessing file says; newer ones nest it under the kind of processor."""
    for file in _PREPROCESSING:
        if (folder / file).is_file():
            content = _read_json(folder / file)
            nested = content.get("image_processor") or content.get("video_processor")
            return nested if isinstance(nested, dict) else content
    return None


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files, as the index lists them if there is one; every listed shard must be there."""
    if (folder / _WEIGHTS).is_file():
        return (folder / _WEIGHTS,)
    index = folder / _INDEX
    if not index.is_file():
        return ()
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise PretrainedModelError("this index has no weight_map", source=str(index), remedy="copy the file again")
    shards = sorted({str(shard) for shard in weight_map.values()})
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise PretrainedModelError(
            f"{len(missing)} of {len(shards)} weights files are missing: {', '.join(missing)}",
            source=str(folder),
            remedy="copy the missing files into this folder",
        )
    return tuple(folder / shard for shard in shards)


def _no_weights(folder: Path) -> PretrainedModelError:
    pickles = [name for name in _PICKLES if (folder / name).is_file()]
    if not pickles:
        return PretrainedModelError(
            "there are no weights (model.safetensors) in this folder",
            source=str(folder),
            remedy="copy model.safetensors into it",
        )
    return PretrainedModelError(
        f"the only weights in this folder are {', '.join(pickles)}, which can run any program when loaded",
        source=str(folder),
        remedy="if you trust where it comes from, convert it once, in Python: "
        "from transformers import AutoModelForImageClassification as M; "
        f"M.from_pretrained({str(folder)!r}).save_pretrained({str(folder) + '-safe'!r}); then use that folder",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainedModelError(
            f"this file is not readable JSON: {error}", source=str(path), remedy="download or copy it again"
        ) from error
    if not isinstance(content, dict):
        raise PretrainedModelError(
            f"expected a JSON object, got {type(content).__name__}", source=str(path), remedy="copy the file again"
        )
    return content


def _license(readme: Path) -> str:
    """Return the licence that a model card's YAML front matter names, or ``unknown``."""
    import yaml

    if not readme.is_file():
        return "unknown"
    lines = readme.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in lines[1:]:
        return "unknown"
    try:
        front_matter = yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))
    except yaml.YAMLError:
        return "unknown"
    found = front_matter.get("license") if isinstance(front_matter, dict) else None
    if isinstance(found, list):
        found = " AND ".join(str(one) for one in found)
    return str(found) if found else "unknown"


def _cached_snapshot(name: str, revision: str | None) -> Path | None:
    """Return the hub cache's folder for a repository if it is whole, so that a run needs no network and stays put."""
    hub = _hub(name)
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, local_files_only=True))
    except OSError:
        return None
    has_weights = (folder / _WEIGHTS).is_file() or (folder / _INDEX).is_file()
    return folder if has_weights and (folder / "config.json").is_file() else None


def _download_snapshot(name: str, revision: str | None, *, whole: bool) -> Path:
    hub = _hub(name)
    what, files = (name, (*_DESCRIPTION_FILES, *_WEIGHT_FILES)) if whole else (f"what {name} is", _DESCRIPTION_FILES)
    progress.say(f"fetching {what} from the Hugging Face Hub")
    try:
        # Asked first because it has a timeout: snapshot_download waits for ever where a firewall drops what it sends.
        about = hub.HfApi().model_info(name, revision=revision, timeout=_HUB_TIMEOUT_SECONDS)
        _check_weights_on_hub(name, {file.rfilename for file in about.siblings or ()})
        folder = hub.snapshot_download(name, revision=about.sha, allow_patterns=list(files))
    except hub.errors.RevisionNotFoundError as error:
        raise PretrainedModelError(
            f"{name} has no revision {revision!r} on the hub", source=f"transformers:{name}", remedy="check its name"
        ) from error
    except hub.errors.GatedRepoError as error:
        raise PretrainedModelError(
            f"{name} is on the hub, but its owner asks you to accept terms first",
            source=f"transformers:{name}",
            remedy=f"accept them at https://huggingface.co/{name}, run `hf auth login`, then try again",
        ) from error
    except hub.errors.RepositoryNotFoundError as error:
        raise PretrainedModelError(
            f"there is no folder {name!r} here, and no such model on the hub (or it is private)",
            source=f"transformers:{name}",
            remedy=f"{nearest_models(name)}check the name; for a private model run `hf auth login` first",
        ) from error
    except hub.errors.HfHubHTTPError.__bases__ as error:  # the system's errors, and those of the client's library
        raise _no_network(name, error) from error
    return Path(folder)


def _check_weights_on_hub(name: str, files: set[str]) -> None:
    """Refuse a repository without safetensors before anything is fetched."""
    if files & {_WEIGHTS, _INDEX}:
        return
    pickles = sorted(files & set(_PICKLES))
    only = f"; only {', '.join(pickles)}, which can run any program when loaded" if pickles else ""
    raise PretrainedModelError(
        f"{name} has no weights as {_WEIGHTS} on the hub{only}",
        source=f"transformers:{name}",
        remedy=f"look for safetensors at https://huggingface.co/{name}/discussions, or take another model",
    )


def _no_network(name: str, error: Exception) -> PretrainedModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return PretrainedModelError(
        f"{name} is not in this machine's cache and cannot be fetched from the hub ({reason})",
        source=f"transformers:{name}",
        remedy=f"{nearest_models(name)}connect to the network (and unset HF_HUB_OFFLINE), "
        "or on a machine with a network run "
        f"`hf download {name} --local-dir {name.rsplit('/', maxsplit=1)[-1]}`, copy that folder here (config.json, "
        f"preprocessor_config.json, model.safetensors) and use transformers:./{name.rsplit('/', maxsplit=1)[-1]}",
    )


def _hub(name: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils._validators import validate_repo_id
    except ImportError as error:
        raise MissingExtraError("transformers", "transformers") from error
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise PretrainedModelError(
            f"{name!r} is neither a folder here nor a name on the hub",
            source=f"transformers:{name}",
            remedy="write a folder (./my-folder) or owner/model (microsoft/resnet-50)",
        ) from error
    return huggingface_hub
