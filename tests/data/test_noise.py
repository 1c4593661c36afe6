"""Captions that are given to other pictures."""

import numpy as np
import pytest

from errors import InputError
from misc.data.noise import draw_mismatches, read_mismatches
from misc.datasets.pictures import read_numbered
from misc.tasks.text.data import build_training_set, read_text_data
from tests.command_line import configure, refusal


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_a_share_of_the_pairs_exchange_their_captions(rate):
    captions = draw_mismatches(1000, rate, seed=3)
    assert sorted(captions) == list(range(1000))
    moved = (captions != np.arange(1000)).mean()
    assert rate - 0.01 <= moved <= rate
    assert (draw_mismatches(1000, rate, seed=3) == captions).all()
    assert rate == 0 or (draw_mismatches(1000, rate, seed=4) != captions).any()


def test_an_index_file_gives_the_captions(tmp_path, small_config):
    still = ("experiment.eda_alpha=0", "experiment.back_trans=false")
    plain = small_config(*still)
    data = read_text_data(plain)
    dataset = build_training_set(plain, data, read_numbered)
    order = np.roll(np.arange(len(dataset)), 3)
    np.save(tmp_path / "CUHK-PEDES_1.0.npy", order)
    file = f"data.noise.file={tmp_path / 'CUHK-PEDES_1.0.npy'}"
    noisy = build_training_set(small_config(*still, file), data, read_numbered)
    for index in (0, 7, len(dataset) - 1):
        assert noisy[0, index].caption == dataset[0, order[index]].caption
        assert noisy[0, index].identity == dataset[0, index].identity
        assert (noisy[0, index].views == dataset[0, index].views).all()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read as an array"),
        (b"no array", "cannot be read as an array"),
        (np.arange(7), "is for 7 pairs, but the training set has 5: give the file of this dataset"),
        (np.array([0, 1, 2, 3, 9]), "names pairs that are not among the 5"),
        (np.zeros(5), "is not a row of whole numbers"),
        (np.zeros((5, 1), int), "is not a row of whole numbers"),
        (np.array([{}, 1, 2, 3, 4], dtype=object), "cannot be read as an array"),
    ],
)
def test_a_file_of_another_dataset_is_a_sentence(tmp_path, content, told):
    file = tmp_path / "noise.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content)
    with pytest.raises(InputError, match=told):
        read_mismatches(str(file), 5)


def test_settings_that_disagree_are_refused():
    assert "give one" in refusal("data.noise={rate: 0.2, file: a.npy}")
    text = refusal("experiment.division=tal", "experiment.mixgen=true")
    assert "experiment.division: labels pairs, which experiment.mixgen mixes" in text
    words = ("--backbone", "altclip", "model.altclip_pretrained=x", "experiment.token_change=0.2")
    assert "experiment.token_change: needs CLIP's vocabulary" in refusal(*words)
    text = refusal("experiment={nitc: false, ritc: false, citc: false, division: sdm}")
    assert "experiment.division: labels pairs for a loss that weights them" in text
    selects = "model.token_selection={embed_dim: 24, ratio: 0.3}"
    text = refusal("--simplified", selects)
    assert "model.token_selection: adds a second embedding, which no loss trains" in text
    text = refusal("--simplified", selects, "experiment={sdm: true, sdm_ratio: 0}")
    assert "model.token_selection: adds a second embedding" in text
    configure("--simplified", selects, "experiment.division=itc", "experiment.sdm=true")
    configure("--simplified", selects, "experiment.losses={own: 1}")
