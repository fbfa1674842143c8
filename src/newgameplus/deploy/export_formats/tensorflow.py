"""TensorFlow: a SavedModel folder with the signature ``serving_default``, named inputs and outputs, any batch size."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from newgameplus.deploy.export_trace import inexpressible, quiet, trace
from newgameplus.deploy.exportable import Arrays, Exportable
from newgameplus.errors import ExportError, MissingExtraError

__all__ = ["TensorflowFormat"]

_SIGNATURE = "serving_default"
_FAULT = "this is a fault of New Game+, not yours: please report it"


class TensorflowFormat:
    """The format ``tensorflow``."""

    title = "SavedModel"
    suffix = ""

    def require(self) -> None:
        """Look whether TensorFlow is there, and keep its start-up messages away.

        Raises:
            MissingExtraError: It is not.
        """
        # Without the second it says at every start that numbers may differ a little from machine to machine.
        for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("TF_ENABLE_ONEDNN_OPTS", "0")):
            os.environ.setdefault(name, value)
        try:
            import tensorflow
        except ImportError as error:
            absent = isinstance(error, ModuleNotFoundError) and error.name == "tensorflow"
            raise MissingExtraError("tensorflow", "tensorflow", "" if absent else str(error)) from error
        tensorflow.get_logger().setLevel("ERROR")

    def write(self, model: Exportable, folder: Path, name: str) -> None:
        """Write the folder ``folder/name``; what the model says about itself is the asset ``labels.json``.

        Raises:
            ExportError: The network has an operation that is not translated.
        """
        import tensorflow as tf

        from newgameplus.deploy.export_formats.tensorflow_graph import TensorflowGraph, unknown_operations

        with quiet():
            program = trace(model).run_decompositions()
        if unknown := unknown_operations(program):
            raise inexpressible(model, "in TensorFlow", NotImplementedError(f"no translation of {', '.join(unknown)}"))
        with quiet():
            graph = TensorflowGraph(program)
            names = [one.name for one in model.outputs]

            def serve(*inputs: Any) -> dict[str, Any]:
                return dict(zip(names, graph(*inputs), strict=True))

            specs = [
                tf.TensorSpec(
                    [None, *(None if isinstance(axis, str) else axis for axis in one.shape)], one.dtype, one.name
                )
                for one in model.inputs
            ]
            try:
                graph.serve = tf.function(serve, input_signature=specs, autograph=False)
                served = graph.serve.get_concrete_function()
            except (NotImplementedError, ValueError, TypeError, tf.errors.OpError) as error:
                raise inexpressible(model, "in TensorFlow", error) from error
            with tempfile.TemporaryDirectory() as aside:
                labels = Path(aside) / "labels.json"
                labels.write_text(json.dumps(model.facts, indent=2, ensure_ascii=False), encoding="utf-8")
                graph.facts = tf.saved_model.Asset(str(labels))
                tf.saved_model.save(graph, str(folder / name), signatures={_SIGNATURE: served})

    def runner(self, path: Path) -> Callable[[Arrays], Arrays]:
        """Return what runs the folder on a batch, as TensorFlow Serving would.

        Raises:
            ExportError: TensorFlow does not take it.
        """
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(str(path))
            served = loaded.signatures[_SIGNATURE]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ExportError(f"TensorFlow cannot load it: {error}", source=str(path), remedy=_FAULT) from error

        def run(batch: Arrays) -> Arrays:
            try:
                # Held by this function, ``loaded`` keeps the variables alive.
                found = served(**{name: tf.constant(values) for name, values in batch.items() if loaded is not None})
            except (ValueError, TypeError, tf.errors.OpError) as error:
                size = len(next(iter(batch.values())))
                message = f"TensorFlow cannot run it on a batch of {size}: {error}"
                raise ExportError(message, source=str(path), remedy=_FAULT) from error
            return {name: tensor.numpy() for name, tensor in found.items()}

        return run

    def describe(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write all facts, the check's result among them, to ``assets.extra/newgameplus.json``."""
        extra = path / "assets.extra"
        extra.mkdir(exist_ok=True)
        text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        (extra / "newgameplus.json").write_text(text + "\n", encoding="utf-8")
