"""Images and captions of one identity."""

from itertools import cycle
from pathlib import Path

from misc.runtime.picture_writing import write_picture
from misc.synthetic.pedestrians.attributes import Person, draw_identity
from misc.synthetic.pedestrians.cameras import draw_camera
from misc.synthetic.pedestrians.captions import describe
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.drawing import draw_picture
from misc.synthetic.pedestrians.facts import choose_facts
from misc.synthetic.pedestrians.languages import LANGUAGES
from misc.synthetic.pedestrians.layouts import Sample
from misc.synthetic.pedestrians.plan import Plan
from misc.synthetic.pedestrians.shots import Shot, draw_shot, draw_size


def write_samples(folder: Path, plan: Plan, split: str, identity: int) -> list[tuple[Sample, ...]]:
    """Draw the images of an identity into `folder`, from different cameras if there are enough.

    Returns:
        For each image, a sample in each of the plan's languages.
    """
    person = draw_identity(plan.seed, identity, plan.difficulty)
    return [
        _write_sample(
            folder, plan, split, person, identity=identity, picture=picture, number=camera
        )
        for picture, camera in enumerate(draw_visits(plan, identity))
    ]


def draw_visits(plan: Plan, identity: int) -> list[int]:
    """The number of the camera of each image of an identity."""
    visits = generator(plan.seed, Stream.VISITS, identity)
    cameras = visits.permutation(plan.published.cameras)
    number = int(visits.integers(plan.images[0], plan.images[1] + 1))
    return [int(camera) for _, camera in zip(range(number), cycle(cameras), strict=False)]


def _write_sample(
    folder: Path,
    plan: Plan,
    split: str,
    person: Person,
    *,
    identity: int,
    picture: int,
    number: int,
) -> tuple[Sample, ...]:
    """Draw one image by camera `number`, save it, and describe it in each language."""
    camera = draw_camera(plan.seed, number, plan.difficulty)
    rng = generator(plan.seed, Stream.PICTURE, identity, picture)
    shot = draw_shot(rng, camera, plan.difficulty)
    image = draw_picture(person, shot, draw_size(rng, person, plan.height), rng)
    name = plan.published.file_path(split, identity, number, picture)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_picture(folder / name, image, quality=camera.quality)
    captions = _write_captions(person, shot, plan, identity, picture)
    return tuple(Sample(split, identity, name, *captions[language]) for language in plan.languages)


def _write_captions(
    person: Person, shot: Shot, plan: Plan, identity: int, picture: int
) -> dict[str, tuple[list[str], list[str]]]:
    """Captions of an image and their back-translations, by language.

    Facts are drawn from the generator of the English words. Other languages word the same facts
    with generators of their own, so that the English captions do not depend on them.
    """
    rngs = {
        language: generator(plan.seed, Stream.TRANSLATION, identity, picture, number)
        for number, language in enumerate(LANGUAGES)
    }
    rngs["en"] = generator(plan.seed, Stream.CAPTION, identity, picture)
    captions: dict[str, tuple[list[str], list[str]]] = {name: ([], []) for name in LANGUAGES}
    for _ in range(plan.published.captions):
        facts = [
            choose_facts(person, shot, plan.difficulty, rngs["en"])
            for _ in range(plan.published.descriptions)
        ]
        for name, language in LANGUAGES.items():
            wordings = zip(*(describe(one, language, rngs[name]) for one in facts), strict=True)
            for texts, parts in zip(captions[name], wordings, strict=True):
                texts.append(language.between.join(parts))
    return captions
