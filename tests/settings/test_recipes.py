"""Recipe files: read, based on one another, and written."""

import os

import pytest
import yaml

import options
from tests.command_line import configure, refusal


def test_base_is_relative_to_the_recipe_and_chains(write, default, tmp_path, monkeypatch):
    write("below/first.yaml", default + "misc: {seed: 5}\ndata: {batch_size: 3, num_workers: 1}")
    write("below/second.yaml", "base: first.yaml\ndata: {batch_size: 2}")
    third = write("third.yaml", "base: below/second.yaml")
    monkeypatch.chdir(tmp_path / "below")
    config = configure("--config", third)
    assert (config.misc.seed, config.data.batch_size, config.data.num_workers) == (5, 2, 1)
    assert configure("--config", "first.yaml").data.batch_size == 3


def test_several_bases_lie_one_over_the_other_and_what_they_share_once(write, default):
    write("common.yaml", default + "misc: {seed: 5}\ndata: {batch_size: 3}")
    write("first.yaml", "base: common.yaml\ndata: {batch_size: 4, num_workers: 7}")
    write("second.yaml", "base: common.yaml\ndata: {num_workers: 8}")
    both = write("both.yaml", "base: [first.yaml, second.yaml]\nmisc: {seed: 6}")
    config = configure("--config", both)
    assert (config.misc.seed, config.data.batch_size, config.data.num_workers) == (6, 4, 8)
    bad = write("bad.yaml", "base: [first.yaml, 3]")
    assert "expected the name of a YAML file" in refusal("--config", bad)


def test_recipe_without_base_must_be_whole(write):
    path = write("short.yaml", "misc: {seed: 1}")
    assert refusal("--config", path, "data.batch_size=1") == (
        f"{path}: task, data.annotation_file, data.image_root and 20 more keys are missing, begin "
        "the recipe with `base: config.yaml`"
    )
    assert "task, data, model and 11 more" in refusal("--config", write("empty.yaml", "# none\n"))
    whole = options.dump(configure()).replace("task: text_to_image\n", "")
    assert "whole.yaml: task is missing, begin" in refusal("--config", write("whole.yaml", whole))


def test_recipe_that_cannot_be_read(write, tmp_path):
    assert "cannot read nowhere.yaml" in refusal("--config", "nowhere.yaml")
    assert "is not a file, give the path" in refusal("--config", str(tmp_path))
    path = write("lost.yaml", "base: nowhere.yaml")
    assert f"{path}: base: cannot read {tmp_path / 'nowhere.yaml'}" in refusal("--config", path)
    assert "base is 3, expected the name of a YAML file" in refusal(
        "--config", write("three.yaml", "base: 3")
    )
    assert "a recipe is sections of keys" in refusal("--config", write("list.yaml", "[1]"))
    (tmp_path / "latin.yaml").write_bytes(b"data: {image_root: caf\xe9}")
    assert "not a text file in UTF-8" in refusal("--config", str(tmp_path / "latin.yaml"))


def test_a_recipe_is_found_by_its_name(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("irra", "veri776/clipreid_vit"):
        file = str(options.RECIPES / f"{name}.yaml")
        assert configure("--config", name) == configure("--config", file)
    assert configure("--config", "tbps_clip") == configure()
    (tmp_path / "rde").mkdir()  # as a clone of its code
    assert options.parse(["--config", "rde"]).config == options.RECIPES / "rde.yaml"
    (tmp_path / "irra").write_text(f"base: {options.RECIPES / 'irra.yaml'}\nmisc: {{seed: 6}}")
    assert configure("--config", "irra").misc.seed == 6
    assert "no file or recipe irrra: did you mean irra?" in refusal("--config", "irrra")
    assert "no file or recipe xyz: the names are altclip, " in refusal("--config", "xyz")
    assert "no file or recipe aaa" in refusal("--config", "a" * 5000)
    assert "cannot read other/irra" in refusal("--config", "other/irra")


def test_bases_that_go_round_are_refused(write):
    one = write("one.yaml", "base: two.yaml")
    write("two.yaml", "base: one.yaml")
    assert "is its own base" in refusal("--config", one)
    assert "is its own base" in refusal("--config", write("own.yaml", "base: own.yaml"))


def test_bases_are_bounded(write, default):
    """Each names the next twice: 2^19 readings if files that are shared were read again."""
    for number in range(19):
        write(f"{number}.yaml", f"base: [{number + 1}.yaml, {number + 1}.yaml]")
    write("19.yaml", default + "misc: {seed: 5}")
    first = write("0.yaml", "base: 1.yaml")
    assert configure("--config", first).misc.seed == 5
    for number in range(19, 40):
        write(f"{number}.yaml", f"base: {number + 1}.yaml")
    assert "a recipe stands on at most 20 others: merge some" in refusal("--config", first)


@pytest.mark.parametrize("name", ["fifo", "/dev/zero", "/dev/null", "folder", "loop", "x" * 300])
def test_what_is_not_a_file_is_not_read(write, tmp_path, name):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    message = refusal("--config", write("recipe.yaml", f"base: {name}"))
    assert "recipe.yaml: base: " in message
    assert "give the path of a YAML recipe" in message
    assert "give the path of a YAML recipe" in refusal("--config", str(tmp_path / name))


def test_encodings(write, default, tmp_path):
    path = tmp_path / "recipe.yaml"
    text = default + "misc: {seed: 5}"
    path.write_text(text, encoding="utf-8-sig")
    assert configure("--config", str(path)).misc.seed == 5
    path.write_text(text, encoding="utf-16")
    assert "is not a text file in UTF-8" in refusal("--config", str(path))
    path.write_text(text, encoding="utf-16-le")
    assert "the character U+0000 is not allowed in text" in refusal("--config", str(path))
    path.write_bytes(b"# " + b"x" * 10**7)
    assert "too long, at most 100,000 characters" in refusal("--config", str(path))


def test_dump_reads_back_equal(tmp_path):
    config = configure(
        "schedule.lr=1.25e-17",
        "schedule.lr_end=0.1",
        "data.image_root='012'",
        "data.annotation_file='1e-5'",
        "model.clip_pretrained='no: #1 ünï'",
        "model.freeze=['true', '~', '0o7', b]",
        "stages=[{name: 'null', schedule: {betas: [0.5, 1e-3]}, freeze: [a]}, {name: yes}]",
    )
    path = tmp_path / "config.yaml"
    path.write_text(options.dump(config), encoding="utf-8")
    assert configure("--config", str(path)) == config
    assert options.parse([]).configure(options.to_tree(config)) == config
    assert "image_size: [224, 224]" in path.read_text(encoding="utf-8")


def test_dump_is_read_alike_by_a_yaml_1_1_reader():
    """Numbers carry a point, so that other tools see numbers too."""
    config = configure()
    assert yaml.safe_load(options.dump(config)) == options.to_tree(config)


def test_tree_is_of_plain_types():
    def kinds(tree: object) -> set[type]:
        if isinstance(tree, dict):
            return {dict}.union(*map(kinds, tree.values()))
        if isinstance(tree, list):
            return {list}.union(*map(kinds, tree))
        return {type(tree)}

    assert kinds(options.to_tree(configure())) <= {dict, list, str, int, float, bool, type(None)}
