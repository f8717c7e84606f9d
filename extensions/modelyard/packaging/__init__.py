"""A model in, a package out: conversion to a fast flavor, checked against the original, in an MLflow model directory.

Belongs here: signatures, conversions, the checks that compare answers, the trial in a fresh process.
Does not belong here: uploading, the registry, endpoints; and no heavy import at module level (sklearn, mlflow, skl2onnx
and pandas are imported by the functions that need them, so that `import modelyard` stays fast).
"""

from modelyard.packaging.build import build
from modelyard.packaging.options import BuildOptions, Progress
from modelyard.packaging.trial import trial

__all__ = ["BuildOptions", "Progress", "build", "trial"]
