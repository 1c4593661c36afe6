"""Recognition of published text datasets by their records, whatever the file name."""

from collections.abc import Sequence

from misc.datasets.cuhk_pedes import CUHK_PEDES
from misc.datasets.icfg_pedes import ICFG_PEDES
from misc.datasets.rstpreid import RSTPREID
from misc.datasets.text_annotations import Record, has_identities
from misc.datasets.text_published import PublishedTextDataset
from misc.datasets.ufine6926 import UFINE6926

PUBLISHED: tuple[PublishedTextDataset, ...] = (CUHK_PEDES, RSTPREID, ICFG_PEDES, UFINE6926)


def identify(records: Sequence[Record]) -> PublishedTextDataset | None:
    """The published dataset that all records match, if any; all of these have identities."""
    if not has_identities(records):
        return None
    return next((dataset for dataset in PUBLISHED if dataset.recognises(records)), None)
