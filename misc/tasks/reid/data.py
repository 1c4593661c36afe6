"""The datasets of a re-identification task."""

from dataclasses import dataclass
from pathlib import Path

from errors import InputError
from misc.datasets.people_folder import PeopleDivision
from misc.datasets.reid import ReIDDataset, ReIDTraining, join_reid_training, read_reid
from misc.settings.sections import Config


@dataclass(frozen=True)
class ReIDData:
    """Pictures to train on, and datasets to test on.

    `tests` has the main dataset under None and further ones by name, each with whether it is
    trained on.
    """

    training: ReIDTraining
    tests: dict[str | None, tuple[ReIDDataset, bool]]


def read_reid_data(config: Config) -> ReIDData:
    """Read the datasets that the configuration names.

    Raises:
        InputError: a root is not set, or a dataset is missing, damaged or given twice.
    """
    reid = config.reid
    if reid.root is None:
        raise InputError(
            f"reid.root is not set: give reid.dataset={reid.dataset} reid.root=FOLDER, or draw "
            "pictures with `python -m misc.synthetic --layout market1501`"
        )
    sources = [(reid.dataset, reid.root), *((s.dataset, s.root) for s in reid.train_sets)]
    folders = [(dataset, Path(root).resolve()) for dataset, root in sources]
    for (name, root), folder in zip(sources, folders, strict=True):
        if folders.count(folder) > 1:
            raise InputError(f"reid.train_sets: {name} in {root} is given twice")
    division = people_division(config)
    training = join_reid_training([read_reid(*source, division) for source in sources])
    trained = dict(zip(folders, training.datasets, strict=True))
    tests: dict[str | None, tuple[ReIDDataset, bool]] = {None: (training.datasets[0], True)}
    for source in reid.test_sets:
        folder = (source.dataset, Path(source.root).resolve())
        dataset = trained.get(folder) or read_reid(source.dataset, source.root, division)
        name = dataset.name
        if name in {training.datasets[0].name, *tests}:
            name += f" ({source.root})"
        if name in tests:
            raise InputError(f"reid.test_sets: {name} is given twice")
        tests[name] = (dataset, folder in trained)
    return ReIDData(training, tests)


def people_division(config: Config) -> PeopleDivision:
    """The division of folders of people that the configuration asks for."""
    reid = config.reid
    return PeopleDivision(reid.test_share, reid.camera_pattern, config.misc.seed)


@dataclass(frozen=True)
class TrainingCounts:
    """Numbers of identities, cameras and views in the training set."""

    num_identities: int
    num_cameras: int
    num_views: int

    def side_information(self, config: Config) -> tuple[int, int]:
        """Cameras and views that the side information tells apart; 1 for what it leaves out."""
        sie = config.reid.sie
        num_cameras = self.num_cameras if sie in ("camera", "both") else 1
        return num_cameras, self.num_views if sie in ("view", "both") else 1
