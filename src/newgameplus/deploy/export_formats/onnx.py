"""ONNX: one file that engines run by themselves (ONNX Runtime, Unity's Inference Engine, DirectML); any batch size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from newgameplus.deploy.export_trace import inexpressible, quiet, trace
from newgameplus.deploy.exportable import Arrays, Exportable
from newgameplus.errors import ExportError, MissingExtraError

__all__ = ["OnnxFormat"]

_LARGEST_FILE = 1_900_000_000
"""Bytes of weights in one file; the format ends at 2 GiB, and beyond that they lie in a file beside it."""


class OnnxFormat:
    """The format ``onnx``."""

    title = "ONNX model"
    suffix = ".onnx"

    def require(self) -> None:
        """Look whether onnx, onnxscript and onnxruntime are there.

        Raises:
            MissingExtraError: One is not.
        """
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            package = (error.name or "onnx").partition(".")[0]
            absent = isinstance(error, ModuleNotFoundError) and error.name == package
            raise MissingExtraError(package, "onnx", "" if absent else str(error)) from error

    def write(self, model: Exportable, folder: Path, name: str) -> None:
        """Write ``folder/name``; weights that do not fit into it lie in ``name.data`` beside it.

        Raises:
            ExportError: Torch cannot express the network in ONNX.
        """
        program = trace(model)
        with quiet():
            try:
                written = torch.onnx.export(
                    program,
                    dynamo=True,
                    input_names=[one.name for one in model.inputs],
                    output_names=[one.name for one in model.outputs],
                    verbose=False,
                )
            except Exception as error:  # the exporter raises many kinds, its own and torch's
                raise inexpressible(model, "in ONNX", error) from error
        if written is None:
            raise inexpressible(model, "in ONNX", ValueError("torch gave nothing back"))
        written.save(str(folder / name), external_data=model.weight_bytes > _LARGEST_FILE)

    def runner(self, path: Path) -> Callable[[Arrays], Arrays]:
        """Return what runs the file on a batch with ONNX Runtime on the CPU.

        Raises:
            ExportError: ONNX Runtime does not take it.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no root but this
            remedy = "this is a fault of New Game+, not yours: please report it"
            raise ExportError(f"ONNX Runtime cannot load it: {error}", source=str(path), remedy=remedy) from error
        taken, names = {one.name for one in session.get_inputs()}, [one.name for one in session.get_outputs()]

        def run(batch: Arrays) -> Arrays:
            try:
                found = session.run(names, {name: values for name, values in batch.items() if name in taken})
            except Exception as error:  # as above
                size = len(next(iter(batch.values())))
                message = f"ONNX Runtime cannot run it on a batch of {size}: {error}"
                remedy = "this is a fault of New Game+, not yours: please report it"
                raise ExportError(message, source=str(path), remedy=remedy) from error
            return dict(zip(names, found, strict=True))

        return run

    def describe(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Put facts into the file's ``metadata_props``, each as text or JSON under ``newgameplus.<key>``."""
        import onnx

        content = onnx.load(str(path), load_external_data=False)
        content.producer_name, content.producer_version = "newgameplus", str(facts.get("newgameplus", ""))
        del content.metadata_props[:]
        texts = {key: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for key, v in facts.items()}
        onnx.helper.set_model_props(content, {f"newgameplus.{key}": text for key, text in texts.items()})
        path.write_bytes(content.SerializeToString())
