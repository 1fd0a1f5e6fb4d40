"""A trained model in a task of mteb: run by hand with the library installed."""

import numpy as np
import pytest
import torch

from jointembed import BagOfWords, ConvNet, EmbeddingBag, LogMel, Space

pytestmark = pytest.mark.slow
mteb = pytest.importorskip("mteb", reason="mteb is not installed")
TEXTS = ["slow sad strings", "wild fiddle", "loud drums", "a harp alone"]


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    encoder = ConvNet(LogMel(8000, 0.5, 16, 256, 128), channels=[4], width=8)
    space = Space(16, {"audio": encoder, "words": EmbeddingBag(BagOfWords())})
    space.reader("words").fit(["query: document:", *TEXTS])
    space.build()
    space.save(tmp_path / "best.ckpt")
    return tmp_path


def retrieval(modalities, category, corpus, queries):
    """A task whose n-th query is answered by the n-th document alone."""
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Local(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Local", dataset={"path": "local/local", "revision": "1"}, description="made by a test",
            reference=None, type="Retrieval" if modalities == ["text"] else "Any2AnyRetrieval", category=category,
            modalities=modalities, eval_splits=["test"], eval_langs=["eng-Latn"], main_score="ndcg_at_10",
            date=None, domains=None, task_subtypes=None, license=None, annotations_creators=None, dialect=None,
            sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, *_, **__):
            rows = [{"id": f"d{n}", **cell} for n, cell in enumerate(corpus)]
            questions = [{"id": f"q{n}", **cell} for n, cell in enumerate(queries)]
            relevant = {f"q{n}": {f"d{n}": 1} for n in range(len(queries))}
            split = {
                "corpus": Dataset.from_list(rows),
                "queries": Dataset.from_list(questions),
                "relevant_docs": relevant,
                "top_ranked": None,
            }
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

    return Local()


def main_score(model, task, **options):
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, **options)
    return result.task_results[0].get_score()


def test_a_task_of_texts_is_solved_by_a_model_that_finds_equal_texts(run):
    from jointembed.adapters.mteb import MtebEncoder

    cells = [{"text": text} for text in TEXTS]
    assert main_score(MtebEncoder(run), retrieval(["text"], "t2t", cells, cells)) == 1.0


def test_prompts_are_put_before_queries_and_documents(run):
    from mteb.types import PromptType

    from jointembed.adapters.mteb import MtebEncoder

    model, space = MtebEncoder(run, prompts={"query": "query: ", "document": "document: "}), Space.load(run)
    task = retrieval(["text"], "t2t", [{"text": "a"}], [{"text": "a"}]).metadata
    for kind in PromptType:
        vectors = model.encode([{"text": TEXTS}], task_metadata=task, prompt_type=kind)
        np.testing.assert_array_equal(vectors, space.embed("words", [f"{kind.value}: {text}" for text in TEXTS]))


def test_sounds_are_documents_and_queries(run):
    from mteb.types import PromptType

    from jointembed.adapters.mteb import MtebEncoder

    rng = np.random.default_rng(0)
    sounds = [{"array": rng.normal(0, 0.1, 8000), "sampling_rate": 8000} for _ in range(3)]
    model, space = MtebEncoder(run), Space.load(run)
    task = retrieval(["text"], "t2t", [{"text": "a"}], [{"text": "a"}]).metadata
    vectors = model.encode([{"audio": sounds[:2]}, {"audio": sounds[2:]}], task_metadata=task)
    np.testing.assert_array_equal(vectors, space.embed("audio", sounds))
    both = model.encode([{"audio": sounds, "text": TEXTS[:3]}], task_metadata=task, prompt_type=PromptType.document)
    np.testing.assert_allclose(both, (space.embed("audio", sounds) + space.embed("words", TEXTS[:3])) / 2, atol=1e-6)


def test_similarities_are_those_of_the_space(run):
    from jointembed.adapters.mteb import MtebEncoder

    model, space = MtebEncoder(run), Space.load(run)
    vectors = torch.from_numpy(space.embed("words", TEXTS))
    torch.testing.assert_close(model.similarity(vectors, vectors[:2]), space.score(vectors, vectors[:2]))
    torch.testing.assert_close(model.similarity_pairwise(vectors, vectors), torch.ones(4))
