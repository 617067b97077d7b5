"""Launching many kernels as one: on a GPU as a CUDA graph, elsewhere one after another."""

from collections.abc import Callable

import torch


class Launch:
    """A function without arguments that always does the same to the same tensors."""

    def __init__(
        self, work: Callable[[], None], device: torch.device, stream: "torch.cuda.Stream | None"
    ) -> None:
        """stream: where it is captured. Graphs that may run at the same time need streams of their own:
        captured on one, they would share a workspace of the matrix library.
        """
        self._work = work
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type != "cuda":
            return
        assert stream is not None
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()  # compiles what was not compiled; that cannot be captured
            work()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            work()
        torch.cuda.synchronize()

    def __call__(self) -> None:
        if self._graph is None:
            self._work()
        else:
            self._graph.replay()
