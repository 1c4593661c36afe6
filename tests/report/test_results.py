"""Tables of results: measured beside published, which are never mixed."""

import re
import shutil
from dataclasses import replace

import pytest

import options
from misc.report.__main__ import main
from misc.report.results import (
    find_publication,
    read_publications,
    result_rows,
    to_latex,
    to_markdown,
)
from misc.report.run import Run, read_runs
from model.architecture import ImageShape
from model.resnet import ResNetShape
from model.vit import VisionShape
from tests import ROOT
from tests.command_line import configure

VIT_B_16 = VisionShape(768, 12, 12, 16, 16, (384, 128))
VIT_B_32 = VisionShape(768, 12, 12, 32, 32, (384, 128))
VIT_L_14 = VisionShape(1024, 24, 16, 14, 14, (384, 128))
RN50 = ResNetShape(64, (3, 4, 6, 3), 32, (384, 128))
RN101 = ResNetShape(64, (3, 4, 23, 3), 32, (384, 128))
RESULTS = {
    "CUHK-PEDES test": {
        "text to image": {"R1": 70.0, "R5": 85.0, "R10": 90.0, "mAP": 60.0, "mINP": 40.0},
        "image to text": {"R1": 71.0, "R5": 86.0, "R10": 91.0, "mAP": 61.0, "mINP": 41.0},
    },
    "Market_1501 & more test": {
        "text to image": {"R1": 72.0, "R5": 87.0, "R10": 92.0, "mAP": 62.0, "mINP": 42.0},
    },
}


IRRA = f"{ROOT}/config/irra.yaml"


def with_tower(run: Run, vision: ImageShape, embed_dim: int) -> Run:
    """The run as if its checkpoint had this image tower."""
    architecture = run.checkpoint.architecture
    changed = replace(architecture, vision=vision, embed_dim=embed_dim)
    return replace(run, checkpoint=replace(run.checkpoint, architecture=changed))


@pytest.fixture
def irra(run_folder):
    """A run of IRRA's recipe."""
    (run,) = read_runs([run_folder])
    config = configure("--config", IRRA, "schedule.epoch=30")
    run = replace(run, name="mine", recipe="irra", config=config, results=RESULTS)
    return with_tower(run, VIT_B_16, 512)


def test_published_numbers_have_a_column_and_a_source(irra):
    rows = result_rows({"mine": [irra]})
    assert [row.published for row in rows] == ["R1 73.38, mAP 66.13, mINP 50.24", "", ""]
    source = "IRRA: Jiang & Ye, CVPR 2023, arXiv 2303.12501, and the authors' README"
    assert rows[0].source == source
    assert all("73.38" not in cell for row in rows for cell in row.measured)
    lines = to_markdown(rows).splitlines()
    assert lines[2] == (
        "| mine | CUHK-PEDES test | text to image | 70.00 | 85.00 | 90.00 | 60.00 | 40.00 "
        f"| R1 73.38, mAP 66.13, mINP 50.24 | {source} |"
    )
    assert len({line.count("|") for line in lines[:5]}) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["lora.rank=8"],
        ["--backbone", "altclip"],
        ["experiment.sdm=false", "experiment.nitc=true"],
        ["experiment.sdm_ratio=0.5"],
        ["experiment.division=sdm"],
        ["experiment.token_change=0.2"],
        ["data.image_size=[224,224]"],
        ["data.noise.rate=0.2"],
        ["data.noise.file=noise.npy"],
        ["data.train_sets=[{name: more, annotation_file: a.json, image_root: imgs}]"],
        ["model.init_from=runs/other"],
        ["model.embed_dim=768"],
        ["model.clip_pretrained=null"],
        ["model.clip_pretrained=hf:openai/clip-vit-base-patch32"],
        ["model.clip_pretrained=hf:laion/CLIP-ViT-B-16-laion2B-s34B-b88K"],
        ["model.clip_pretrained=open_clip:ViT-B-16-quickgelu/metaclip_400m"],
    ],
)
def test_published_numbers_are_those_of_the_same_method_only(irra, words):
    """Whatever the name of the file that it was trained with."""
    config = configure("--config", IRRA, *words)
    (row, *_) = result_rows({"mine": [replace(irra, config=config)]})
    assert (row.published, row.source) == ("", "")


@pytest.mark.parametrize(
    "source",
    ["hf:openai/clip-vit-base-patch16", "open_clip:ViT-B-16-quickgelu/openai", "ViT-B-16.pt"],
)
def test_published_numbers_are_those_of_openai_s_weights(irra, source):
    config = configure("--config", IRRA, f"model.clip_pretrained={source}")
    assert find_publication(replace(irra, config=config)).recipe == "irra"


@pytest.mark.parametrize(
    ("vision", "embed_dim"), [(VIT_B_32, 512), (RN101, 512), (VIT_L_14, 768), (RN50, 1024)]
)
def test_a_local_file_with_another_tower_is_another_method(irra, vision, embed_dim):
    config = configure("--config", IRRA, "model.clip_pretrained=weights.pt")
    run = replace(irra, config=config)
    assert find_publication(run) is not None
    assert find_publication(with_tower(run, vision, embed_dim)) is None
    assert find_publication(replace(run, checkpoint=None)) is not None


@pytest.mark.parametrize("entry", read_publications(), ids=lambda entry: entry.recipe)
def test_every_publication_is_found_by_a_run_of_its_recipe(irra, entry):
    (file,) = (
        file
        for file in (ROOT / "config").rglob("*.yaml")
        if options.parse(["--config", str(file)]).recipe == entry.recipe
    )
    run = replace(irra, recipe=entry.recipe, config=configure("--config", str(file)))
    if "RN50" in entry.method:
        assert find_publication(run) is None
        run = with_tower(run, RN50, 1024)
    assert find_publication(run) == entry


def test_runs_of_a_group_are_a_mean_and_a_sample_deviation(irra):
    better = {
        d: {r: {m: v + 2 for m, v in ms.items()} for r, ms in rs.items()}
        for d, rs in RESULTS.items()
    }
    rows = result_rows({"both": [irra, replace(irra, results=better)]})
    assert rows[0].measured[0] == "71.00 ± 1.41"
    unfinished = replace(irra, results={})
    assert result_rows({"both": [unfinished, irra]}) == result_rows({"both": [irra]})
    assert result_rows({"none": [unfinished]}) == []


def test_latex_is_escaped(irra):
    text = to_latex(result_rows({"mine_1": [irra, irra]}))
    assert r"mine\_1 & CUHK-PEDES test & text to image & 70.00 $\pm$ 0.00" in text
    assert r"Market\_1501 \& more test" in text
    assert r"Jiang \& Ye" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {9}


TEXT, PICTURES, VEHICLES = "Text to image, R1", "mAP / R1, percent", "VeRi-776, mAP / R1, percent"
PRINTED = {  # of each recipe the page, the first cell of a table and of a row
    "tbps_clip": ("tbps-clip", TEXT, "TBPS-CLIP"),
    "tbps_clip-simplified": ("tbps-clip", TEXT, "simplified"),
    "rde": ("rde", TEXT, "RDE, without added noise"),
    "cskt": ("cskt", TEXT, "CSKT"),
    "clipreid_cnn": ("clip-reid", PICTURES, "CLIP-ReID, RN50"),
    "clipreid_vit": ("clip-reid", PICTURES, "CLIP-ReID, ViT"),
    "clipreid_vit_sie_olp": ("clip-reid", PICTURES, "CLIP-ReID, ViT, SIE, OLP"),
    "veri776-clipreid_cnn": ("clip-reid", VEHICLES, "CLIP-ReID, RN50"),
    "veri776-clipreid_vit": ("clip-reid", VEHICLES, "CLIP-ReID, ViT"),
    "veri776-clipreid_vit_sie_olp": ("clip-reid", VEHICLES, "CLIP-ReID, ViT, SIE, OLP"),
}


def read_tables(page: str) -> dict[str, list[list[str]]]:
    """The tables of a method's page, each a list of rows, by the first cell."""
    text = (ROOT / "docs" / "methods" / f"{page}.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    cells = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for table in tables
    ]
    return {rows[0][0]: rows for rows in cells}


def printed_results(page: str, table: str, row: str) -> dict[str, dict[str, str]]:
    """The published numbers in a row of a page: dataset -> metric -> value."""
    titles, *rows = read_tables(page)[table]
    (found,) = (cells for cells in rows if cells[0] == row)
    metrics = re.findall("mAP|R1", table)
    return {
        dataset or table.split(",")[0]: dict(zip(metrics, value.split(" / "), strict=True))
        for dataset, value in zip(titles[1:-1], found[1:-1], strict=True)
        if value
    }


def test_publications_agree_with_the_pages_of_the_methods():
    titles, _, *rows = read_tables("irra")["Text to image"]
    assert titles[1:-1] == ["R1", "mAP", "mINP"]
    irra = {
        name: dict(zip(titles[1:-1], values, strict=True))
        for name, *values, source in rows
        if source
    }
    printed = {recipe: printed_results(*where) for recipe, where in PRINTED.items()}
    known = {entry.recipe: entry.results for entry in read_publications()}
    assert known == printed | {"irra": irra}


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_publications_agree_with_the_readme(name):
    by_recipe = {entry.recipe: entry.results for entry in read_publications()}
    readme = (ROOT / name).read_text(encoding="utf-8")
    recipes = {
        "tbps_clip": "`config/config.yaml`",
        "tbps_clip-simplified": "`--simplified`",
        **{recipe: f"`config/{recipe}.yaml`" for recipe in ("irra", "rde", "cskt")},
    }
    for recipe, command in recipes.items():
        (line,) = (x for x in readme.splitlines() if x.startswith("|") and f"| {command} |" in x)
        numbers = re.findall(r"\d\d\.\d\d", line)
        assert numbers == [
            by_recipe[recipe][name]["R1"] for name in ("CUHK-PEDES", "ICFG-PEDES", "RSTPReid")
        ]


def test_the_command_prints_tables(run_folder, capsys):
    assert main([str(run_folder), "--markdown", "--latex"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| one | CUHK-PEDES test |") == 2
    assert r"\begin{tabular}{lllrrrrrll}" in printed


def test_a_run_that_has_not_ended_has_nothing_to_print(run_folder, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / "results.json").unlink()
    assert main([str(folder), "--latex"]) == 2
    assert "none of these runs has ended" in capsys.readouterr().err
