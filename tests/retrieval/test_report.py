import json
import statistics

import pytest

from misc.retrieval.report import summarise, to_json, to_markdown


def evaluation(shift: float = 0.0, unmatched: int = 0) -> dict:
    first = {"R1": 72.66, "R5": 88.0, "R10": 92.5, "mAP": 64.9, "mINP": 49.125}
    metrics = {name: value + shift for name, value in first.items()} | {"unmatched": unmatched}
    return {
        "CUHK-PEDES": {"text to image": metrics, "image to text": metrics},
        "RSTPReid": {"text to image": metrics},
    }


def test_one_checkpoint():
    assert to_markdown([evaluation()]) == (
        "| Dataset | Direction | R1 | R5 | R10 | mAP | mINP |\n"
        "|---|---|---:|---:|---:|---:|---:|\n"
        "| CUHK-PEDES | text to image | 72.66 | 88.00 | 92.50 | 64.90 | 49.12 |\n"
        "| CUHK-PEDES | image to text | 72.66 | 88.00 | 92.50 | 64.90 | 49.12 |\n"
        "| RSTPReid | text to image | 72.66 | 88.00 | 92.50 | 64.90 | 49.12 |\n"
    )


def test_several_checkpoints():
    shifts = (-0.21, 0.0, 0.21)  # whose sample deviation is 0.21
    evaluations = [evaluation(shift) for shift in shifts]
    lines = to_markdown(evaluations).splitlines()
    assert lines[2].startswith("| CUHK-PEDES | text to image | 72.66 ± 0.21 | 88.00 ± 0.21 |")
    assert lines[-2:] == ["", "- Mean ± sample standard deviation over 3 checkpoints."]
    document = json.loads(to_json(evaluations))
    assert document["checkpoints"] == 3
    found = document["results"]["RSTPReid"]["text to image"]["R1"]
    values = [72.66 + shift for shift in shifts]
    assert found["values"] == values
    assert found["mean"] == pytest.approx(statistics.mean(values))
    assert found["deviation"] == pytest.approx(0.21)


def test_json_of_one_checkpoint():
    document = json.loads(to_json([evaluation(unmatched=3)]))
    assert list(document["results"]) == ["CUHK-PEDES", "RSTPReid"]
    assert list(document["results"]["CUHK-PEDES"]) == ["text to image", "image to text"]
    found = document["results"]["CUHK-PEDES"]["image to text"]
    assert list(found) == ["R1", "R5", "R10", "mAP", "mINP", "unmatched"]
    assert found["mINP"] == {"mean": 49.125, "deviation": None, "values": [49.125]}
    assert found["unmatched"] == 3
    assert "recipe" not in document
    assert json.loads(to_json([evaluation()], recipe="irra")) == {
        **json.loads(to_json([evaluation()])),
        "recipe": "irra",
    }


def test_named_checkpoints_stand_side_by_side():
    evaluations, names = [evaluation(), evaluation(0.21, unmatched=3)], ["TBPS-CLIP", "a|b"]
    lines = to_markdown(evaluations, names).splitlines()
    assert lines[:4] == [
        "| Dataset | Direction | Checkpoint | R1 | R5 | R10 | mAP | mINP |",
        "|---|---|---|---:|---:|---:|---:|---:|",
        "| CUHK-PEDES | text to image | TBPS-CLIP | 72.66 | 88.00 | 92.50 | 64.90 | 49.12 |",
        "| CUHK-PEDES | text to image | a\\|b | 72.87 | 88.21 | 92.71 | 65.11 | 49.34 |",
    ]
    assert len(lines) == 2 + 3 * 2
    document = json.loads(to_json(evaluations, names))
    assert document["checkpoints"] == 2
    for name, expected in zip(names, evaluations, strict=True):
        for dataset, directions in expected.items():
            for direction, metrics in directions.items():
                assert document["results"][dataset][direction][name] == metrics


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"], []])
def test_names_must_be_one_for_each_checkpoint(names):
    for report in (to_markdown, to_json):
        with pytest.raises(ValueError, match="2 evaluations need as many different names"):
            report([evaluation(), evaluation()], names)


def test_queries_without_a_match_are_noted():
    note = to_markdown([evaluation(unmatched=3)]).splitlines()[-1]
    assert note == "- RSTPReid, text to image: 3 queries have no match and are excluded."


def test_a_name_cannot_break_the_table():
    metrics = evaluation()["RSTPReid"]
    assert "| a\\|b | text" in to_markdown([{"a|b": metrics}])


def test_checkpoints_must_share_their_datasets():
    for other in ({}, {"RSTPReid": evaluation()["RSTPReid"]}):
        with pytest.raises(ValueError, match="same datasets"):
            to_markdown([evaluation(), other])
    with pytest.raises(ValueError, match="same datasets"):
        to_json([])


def test_summary():
    assert str(summarise([1.0])) == "1.00"
    assert str(summarise([1.0, 2.0])) == "1.50 ± 0.71"
