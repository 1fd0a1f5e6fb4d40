"""An ONNX graph of sounds beside torch."""

import numpy as np
from tiny_models import sound

from jointembed.sharing import onnx_graphs
from jointembed.sharing.onnx_space import OnnxSpace, open_session
from jointembed.space import golden


def compare(space, folder):
    """The largest difference of vectors of sounds from torch's, of cells and of batches that the graph is given."""
    space.columns = {"audio": space.columns["audio"]}  # the graphs of the others take as long to write
    [result] = onnx_graphs.write_graphs(space, golden.compute(space), folder)
    assert not result.refusal
    onnx, reader = OnnxSpace.load(folder), space.reader("audio")
    graph = open_session(folder / "audio.onnx")
    differences = [result.difference]
    for number, share in enumerate([0.01, 0.2, 0.97, 1, 1.3, 1.6, 9.7]):
        seconds = share * reader.window_length / reader.sample_rate
        samples = np.stack([sound(seconds, reader.sample_rate, seed) for seed in range(number, number + 3)])
        cells = [{"array": row, "sampling_rate": reader.sample_rate} for row in samples]
        exact = space.embed("audio", cells)
        assert np.abs(exact[0] - exact[1]).max() > 1e-4, "the vectors tell sounds apart"
        differences.append(np.abs(onnx.embed("audio", cells) - exact).max())
        if share > 0.1 and (share <= 1 or reader.windows_in_block > 1):
            differences.append(np.abs(graph.run(["vector"], {"samples": samples})[0] - exact).max())
    return max(differences)
