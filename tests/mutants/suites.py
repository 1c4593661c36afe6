"""The sources that are mutated, each with the tests that must notice, the fastest first."""

from fnmatch import fnmatch

from tests import ROOT

SUITES: dict[str, tuple[str, ...]] = {
    "misc/training/trainer.py": (
        "training/test_step",
        "training/test_trainer",
        "training/test_bad_steps",
        "runtime/test_distributed",
        "training/test_engine",
    ),
    "misc/training/engine.py": ("training/test_schedule_of_a_run", "training/test_engine"),
    "misc/training/meter.py": ("training/test_meter",),
    "misc/training/bad_steps.py": ("training/test_bad_steps", "training/test_engine"),
    "misc/training/mixture.py": ("training/test_division",),
    "misc/training/division.py": ("training/test_division",),
    "misc/training/compilation.py": ("training/test_compilation",),
    "model/objectives.py": ("test_published_defaults", "model/test_objectives"),
    "model/criteria/*.py": ("model/criteria", "model/test_tbps_clip"),
    "model/heads.py": (
        "model/test_heads",
        "model/test_token_selection",
        "model/test_tbps_clip",
        "model/test_clip_reid",
    ),
    "misc/data/samplers.py": (
        "data/test_sampler_seeds",
        "data/test_samplers",
        "data/test_joint",
    ),
    "misc/data/transforms.py": (
        "data/test_image_draws",
        "data/test_transforms",
        "data/test_rendering",
    ),
    "misc/data/views.py": ("data/test_views",),
    "misc/data/rendering.py": ("data/test_rendering",),
    "misc/data/cache.py": ("data/test_cache",),
    "misc/evaluation.py": ("test_ranking_edges", "test_evaluation"),
    "misc/reranking.py": ("test_published_defaults", "test_reranking"),
    "misc/calibration.py": ("test_calibration",),
    "misc/runtime/checkpoint.py": (
        "runtime/test_checkpoint",
        "test_legacy",
        "test_main",
        "training/test_resumption",
    ),
    "misc/runtime/distributed.py": (
        "runtime/test_distributed",
        "runtime/test_lost_ranks",
        "runtime/test_requeue",
    ),
    "misc/search/updating.py": ("search/test_index",),
    "misc/search/vectors.py": (
        "search/test_vectors",
        "search/test_ranks",
        "search/test_approximate",
    ),
}


def suite_of(file: str) -> list[str]:
    """The test files of a source."""
    (names,) = [names for pattern, names in SUITES.items() if fnmatch(file, pattern)]
    paths = [ROOT / "tests" / name for name in names]
    return [str((p if p.is_dir() else p.with_suffix(".py")).relative_to(ROOT)) for p in paths]


def sources() -> list[str]:
    """The files that are mutated, without empty ones."""
    files = sorted(file for pattern in SUITES for file in ROOT.glob(pattern))
    return [str(file.relative_to(ROOT)) for file in files if file.stat().st_size]
