"""Sum, product and dot product of two vectors; the dot product is done by numpy's BLAS."""

from typing import Any

import numpy as np  # type: ignore[import-not-found,unused-ignore]  # in the image
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found,unused-ignore]  # in the image


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        one, other = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("INPUT0", "INPUT1"))
        results = {"SUM": one + other, "PRODUCT": one * other, "DOT": np.dot(one, other).reshape(1)}
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, result) for name, result in results.items()])
