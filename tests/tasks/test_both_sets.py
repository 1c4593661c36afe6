"""Several datasets of either kind, and both embeddings of RDE, in one training of both tasks."""

from pathlib import Path

import pytest
import torch

import main
from errors import InputError
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.search.person_search import PersonSearch
from misc.synthetic.__main__ import main as draw
from tests.command_line import parse
from tests.tasks.test_both import closing

FURTHER = "{{name: {name}, annotation_file: {data.processed}, image_root: {data.image_root}}}"


def test_further_sets_join_either_task(run_joint, pedestrians, tmp_path, capsys):
    people = ["--train", "4", "--test", "2", "--images", "4", "4", "--height", "32", "48"]
    assert draw(["--layout", "dukemtmc", "--output", str(tmp_path / "duke"), *people]) == 0
    duke = f"[{{dataset: dukemtmc, root: {tmp_path / 'duke'}}}]"
    described = f"[{FURTHER.format(name='more', data=pedestrians)}]"
    text = (f"data.train_sets={described}", f"data.test_sets={described}")
    folder = run_joint(*text, f"reid.train_sets={duke}", f"reid.test_sets={duke}")
    told = capsys.readouterr().out
    counts = "26 of CUHK-PEDES for sentences, 10 of Market-1501 and DukeMTMC-reID for pictures"
    assert f"People are told apart by dataset: {counts}" in told
    state = open_checkpoint(folder / LAST).state
    heads = (state["classifier.weight"], state["reid.image_head.classifier.weight"])
    assert [len(head) for head in heads] == [26, 10]
    assert {dataset for dataset, _ in closing(folder)} == {
        f"{name} test" for name in ("CUHK-PEDES", "more", "Market-1501", "DukeMTMC-reID")
    }


def test_two_datasets_of_one_name_are_refused(run_joint, pedestrians):
    twice = FURTHER.format(name="Market-1501", data=pedestrians)
    with pytest.raises(InputError, match=r"two datasets are named Market-1501: rename the folder"):
        run_joint(f"data.test_sets=[{twice}]")
    assert not Path("run").exists()


def test_selected_tokens_are_compared_with_sentences_alone(run_joint):
    """RDE's losses on the pairs, whose second embedding is not of re-identification."""
    rde = ("experiment={nitc: false, ritc: false, tal: true}", "experiment.id=false")
    folder = run_joint(*rde, "model.token_selection={embed_dim: 8, ratio: 0.3}")
    found = closing(folder)
    main.run(parse(["--evaluate", "run", "--output", "again"]))
    assert closing(Path("again")) == found
    people = PersonSearch(folder, "cpu")
    model, images = people.encoder.model, torch.rand(2, 3, 32, 16)
    assert (people.parts.words, people.parts.width) == (16 + 8, 16 + 8 + model.reid.width)
    with torch.no_grad():
        words, pictures = model.encode_gallery(images)
        torch.testing.assert_close(pictures, model.reid.encode_image(images))
    assert words.shape == (2, 16 + 8)
