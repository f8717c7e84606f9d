"""Where a model computes: the processor, or a CUDA GPU where there is one and the flavor can use it."""

from __future__ import annotations

from typing import Any, Literal

from modelyard_api.errors import InvalidInput

Device = Literal["auto", "cpu", "cuda"]
_REMEDY = "Set MODELYARD_SERVER_DEVICE to auto or cpu, or start the server where there is one: docs/flavors.md."


def no_cuda(why: str) -> InvalidInput:
    """That `cuda` is asked for and cannot be had."""
    return InvalidInput(f"the model server is to use CUDA, and {why}", remedy=_REMEDY)


def torch_device(torch: Any, device: Device) -> str:
    """`cpu` or `cuda`, for PyTorch. InvalidInput where `cuda` is asked for and there is none."""
    if device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        # Numbers of 19 bits are quicker, and not those of the notebook.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        return "cuda"
    if device == "cuda":
        built = torch.version.cuda is not None
        raise no_cuda("PyTorch finds no CUDA GPU" if built else "this PyTorch is built without CUDA")
    return "cpu"


def onnx_providers(ort: Any, device: Device) -> list[Any]:
    """ONNX Runtime's providers to ask for, the first one preferred. InvalidInput where `cuda` is asked for and this
    ONNX Runtime has no such provider."""
    if device != "cpu" and "CUDAExecutionProvider" in ort.get_available_providers():
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # CUDA's libraries of Python packages
        return [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    if device == "cuda":
        raise no_cuda("this ONNX Runtime has no CUDA provider (the distribution onnxruntime-gpu has)")
    return ["CPUExecutionProvider"]


def onnx_device(session: Any, device: Device) -> str:
    """What a session uses: ONNX Runtime falls back to the processor without a word where CUDA does not start."""
    if "CUDAExecutionProvider" in session.get_providers():
        return "cuda"
    if device == "cuda":
        raise no_cuda("ONNX Runtime cannot start its CUDA provider: no GPU, or CUDA's libraries are missing")
    return "cpu"
