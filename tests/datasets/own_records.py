"""Records of a small dataset of one's own, without faults."""


def records(*changes: dict[str, object]) -> list[dict[str, object]]:
    """A clean dataset of one's own: a picture of each of four people, one in each folder."""
    clean = [
        {"split": split, "file_path": f"{folder}/{number}.png", "id": number, "captions": [text]}
        for number, (split, folder, text) in enumerate(
            [
                ("train", "a", "A man in a red coat."),
                ("train", "b", "A woman with a bag."),
                ("test", "a", "A boy in blue jeans (torn)."),
                ("test", "b", "A girl, black & white shoes; a hat."),
            ]
        )
    ]
    return [{**record, **change} for record, change in zip(clean, changes, strict=False)] + clean[
        len(changes) :
    ]
