import sys
from types import ModuleType, SimpleNamespace

import pytest

from errors import InputError
from text_utils import synonyms as module
from text_utils.synonyms import Synonyms


class Meaning(SimpleNamespace):
    def lemma_names(self):
        return self.names


class Dictionary:
    """WordNet as nltk shows it, with two words; without data when `loaded` is false."""

    def __init__(self, loaded=True):
        self.loaded = loaded

    def ensure_loaded(self):
        if not self.loaded:
            raise LookupError("Resource wordnet not found.")

    def synsets(self, word):
        meanings = {"shirt": [["shirt"], ["T-shirt", "polo_shirt"]], "the": [["article"]]}
        return [Meaning(names=names) for names in meanings.get(word, [])]


@pytest.fixture
def nltk(monkeypatch):
    def install(dictionary):
        package, corpus = ModuleType("nltk"), ModuleType("nltk.corpus")
        corpus.wordnet = dictionary
        monkeypatch.setitem(sys.modules, "nltk", package)
        monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)

    module._synonyms.cache_clear()
    yield install
    module._synonyms.cache_clear()


def test_synonyms_are_plain_words_in_order_without_the_word_itself(nltk):
    nltk(Dictionary())
    synonyms = Synonyms()
    assert synonyms("Shirt") == ("polo shirt", "t shirt")
    assert synonyms("xyz") == ()
    assert synonyms("the") == (), "a stop word has none"


@pytest.mark.parametrize("missing", ["package", "data"])
def test_what_to_install_is_said(nltk, monkeypatch, missing):
    if missing == "data":
        nltk(Dictionary(loaded=False))
    else:
        monkeypatch.setitem(sys.modules, "nltk", None)
        monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    with pytest.raises(InputError, match=r"pip install nltk.*nltk\.downloader wordnet") as caught:
        Synonyms()
    assert "\n" not in str(caught.value)
