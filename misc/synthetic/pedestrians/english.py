"""English tables of the caption grammar."""

import re

from misc.synthetic.pedestrians.captions import Language


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _finish(text: str) -> str:
    """Reduce to single spaces, write `an` before vowels, and capitalise sentences."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return re.sub(r"(^|\. )([a-z])", lambda match: match[1] + match[2].upper(), text)


ENGLISH = Language(
    people={
        "man": ("a {} man", "a {} man", "a {} male pedestrian", "a {} guy"),
        "woman": ("a {} woman", "a {} woman", "a {} female pedestrian", "a {} lady"),
        "person": ("a {} person", "a {} pedestrian"),
    },
    again={
        "man": ("he", "he", "he", "the man"),
        "woman": ("she", "she", "she", "the woman"),
        "person": ("the person", "the pedestrian"),
    },
    builds={"slim": ("slim", "thin", "slender"), "heavy": ("heavyset", "stocky", "plump")},
    vague_builds={"slim": ("rather slim",), "heavy": ("rather broad",)},
    colours={
        "red": ("red", "red", "bright red", "scarlet"),
        "orange": ("orange",),
        "yellow": ("yellow", "yellow", "bright yellow"),
        "green": ("green",),
        "blue": ("blue", "blue", "royal blue"),
        "navy": ("navy", "navy blue", "dark blue"),
        "light blue": ("light blue", "pale blue", "sky blue"),
        "purple": ("purple", "purple", "violet"),
        "pink": ("pink", "pink", "rose-pink"),
        "brown": ("brown",),
        "beige": ("beige", "beige", "cream", "tan"),
        "white": ("white",),
        "grey": ("grey", "gray"),
        "black": ("black",),
    },
    hair_colours={
        "black": ("black",),
        "brown": ("brown", "chestnut"),
        "blonde": ("blonde", "fair"),
        "red": ("red", "ginger"),
        "grey": ("grey", "gray"),
    },
    tones={
        "dark": ("dark", "dark", "dark-coloured"),
        "light": ("light", "light-coloured", "pale"),
        "bright": ("bright", "brightly coloured", "colourful"),
    },
    nouns={
        "t-shirt": ("a {} t-shirt", "a {} t-shirt", "a {} tee", "a {} short-sleeved top"),
        "shirt": ("a {} shirt", "a {} button-up shirt", "a {} shirt with long sleeves"),
        "sweater": ("a {} sweater", "a {} pullover", "a {} jumper"),
        "hoodie": ("a {} hoodie", "a {} hooded sweatshirt"),
        "jacket": ("a {} jacket", "an open {} jacket"),
        "coat": ("a {} coat", "a long {} coat", "a {} overcoat"),
        "tank top": ("a {} tank top", "a {} sleeveless top", "a {} vest top"),
        "dress": ("a {} dress", "a {} frock"),
        "trousers": ("{} trousers", "{} pants", "a pair of {} trousers", "{} slacks"),
        "jeans": ("{} jeans", "a pair of {} jeans", "{} denim jeans"),
        "leggings": ("{} leggings", "tight {} leggings"),
        "shorts": ("{} shorts", "a pair of {} shorts"),
        "skirt": ("a {} skirt", "a short {} skirt", "a knee-length {} skirt"),
        "long skirt": ("a long {} skirt", "a {} maxi skirt"),
        "sneakers": ("{} sneakers", "{} trainers", "a pair of {} sneakers", "{} sports shoes"),
        "leather shoes": ("{} leather shoes", "{} dress shoes"),
        "boots": ("{} boots", "a pair of {} boots"),
        "sandals": ("{} sandals", "a pair of {} sandals"),
        "flats": ("{} flats", "{} flat shoes", "{} ballet flats"),
        "cap": ("a {} cap", "a {} baseball cap"),
        "beanie": ("a {} beanie", "a {} knitted hat", "a {} woolly hat"),
        "sun hat": ("a {} sun hat", "a wide-brimmed {} hat"),
        "glasses": ("{} glasses", "glasses", "a pair of glasses"),
        "sunglasses": ("{} sunglasses", "sunglasses", "dark glasses"),
        "scarf": ("a {} scarf",),
        "backpack": ("a {} backpack", "a {} rucksack"),
        "shoulder bag": ("a {} shoulder bag", "a {} messenger bag", "a {} crossbody bag"),
        "handbag": ("a {} handbag", "a {} purse", "a small {} handbag"),
        "phone": ("a {} phone", "a {} mobile phone", "a {} smartphone"),
        "bottle": ("a {} bottle", "a {} water bottle"),
        "book": ("a {} book",),
        "cup": ("a {} cup", "a {} coffee cup"),
        "flowers": ("{} flowers", "a bunch of {} flowers", "a {} bouquet"),
        "umbrella": ("an open {} umbrella", "a {} umbrella"),
        "suitcase": ("a {} suitcase", "a {} trolley case", "a {} rolling suitcase"),
        "shopping bag": ("a {} shopping bag", "a {} carrier bag"),
        "short": ("short {} hair", "{} hair cut short"),
        "medium": ("shoulder-length {} hair", "medium-length {} hair"),
        "long": ("long {} hair", "long flowing {} hair"),
        "ponytail": ("a {} ponytail", "{} hair tied in a ponytail"),
        "bun": ("{} hair in a bun", "{} hair tied up in a bun"),
        "bald": ("a bald head", "a shaven head"),
    },
    vague_nouns={
        **dict.fromkeys(
            ("t-shirt", "shirt", "sweater", "hoodie", "tank top"), ("a {} top", "{} upper clothes")
        ),
        **dict.fromkeys(("jacket", "coat"), ("{} outerwear", "a {} top layer")),
        "dress": ("a {} outfit", "{} clothes"),
        **dict.fromkeys(
            ("trousers", "jeans", "leggings"), ("{} trousers", "{} pants", "{} bottoms")
        ),
        "shorts": ("{} shorts", "short {} bottoms"),
        **dict.fromkeys(("skirt", "long skirt"), ("a {} skirt",)),
        **dict.fromkeys(
            ("sneakers", "leather shoes", "boots", "sandals", "flats"), ("{} shoes", "{} footwear")
        ),
        **dict.fromkeys(("cap", "beanie", "sun hat"), ("a {} hat", "a hat", "some headwear")),
        **dict.fromkeys(("glasses", "sunglasses"), ("eyewear",)),
        "scarf": ("a scarf", "a {} scarf"),
        **dict.fromkeys(("backpack", "shoulder bag", "handbag"), ("a bag", "a {} bag")),
        **dict.fromkeys(
            ("phone", "bottle", "book", "cup", "flowers"), ("a small object", "something small")
        ),
        "umbrella": ("an umbrella",),
        "suitcase": ("luggage", "{} luggage"),
        "shopping bag": ("a bag", "some shopping"),
        "short": ("short hair",),
        "medium": ("hair of medium length",),
        "long": ("long hair",),
        **dict.fromkeys(("ponytail", "bun"), ("tied hair", "hair that is tied back")),
        "bald": ("hardly any hair",),
    },
    patterns={
        "plain": (("{colour}", ""),),
        "striped": (
            ("{colour} and {accent} striped", ""),
            ("{colour}", " with {accent} stripes"),
            ("striped {colour} and {accent}", ""),
        ),
        "checked": (
            ("{colour} and {accent} checked", ""),
            ("{colour} plaid", " with {accent} lines"),
            ("checked {colour} and {accent}", ""),
        ),
        "dotted": (("{colour}", " with {accent} polka dots"), ("{colour}", " with {accent} dots")),
        "print": (("{colour}", " with a {accent} print"), ("{colour}", " with a {accent} logo")),
    },
    vague_pattern=(("{colour} patterned", ""), ("patterned", "")),
    layers=("{upper} over {inner}", "{upper} with {inner} underneath"),
    places={
        "backpack": ("{}", "{} on the back"),
        "shoulder bag": ("{}", "{} across the body"),
        "handbag": ("{}", "{} in the left hand"),
        "phone": ("{}", "{} in one hand"),
        "bottle": ("{}", "{} in one hand"),
        "book": ("{}", "{} in one hand"),
        "cup": ("{}", "{} in one hand"),
        "flowers": ("{}", "{} in one hand"),
        "umbrella": ("{}", "{} overhead"),
    },
    verbs={
        "wears": ("wears", "is wearing", "has on"),
        "wearing": ("wearing",),
        "also_wears": ("also wears", "is also wearing", "also has on"),
        "dressed": ("dressed in", "wearing", "clad in"),
        "shows": ("the picture shows", "this photo shows", "we see"),
        "has": ("has",),
        "carries": ("carries", "is carrying"),
        "carrying": ("carrying", "with"),
    },
    moves={
        (True, "front"): (
            "walks towards the camera",
            "is walking towards the viewer",
            "comes closer",
        ),
        (True, "back"): (
            "walks away from the camera",
            "is walking away",
            "is seen from behind, walking",
        ),
        (True, "left"): ("walks to the left", "is walking towards the left"),
        (True, "right"): ("walks to the right", "is walking towards the right"),
        (False, "front"): ("stands facing the camera", "is standing and faces the viewer"),
        (False, "back"): ("stands with the back to the camera", "is standing, seen from behind"),
        (False, "left"): ("stands facing left", "is standing and looks to the left"),
        (False, "right"): ("stands facing right", "is standing and looks to the right"),
    },
    neutral=("can be seen", "is in view", "appears in the picture"),
    frames=(
        (
            "{person}",
            " with {have}",
            " {wears} {wear}",
            ", and {carries} {carry}",
            ". {they} {moves}",
            ".",
        ),
        (
            "{person} {acts}",
            ", {wearing} {wear}",
            ". {they} {has} {have}",
            ". {they} {carries} {carry}",
            ".",
        ),
        (
            "{dressed} {main}",
            ", {person} {acts}",
            ". {they} {carries} {carry}",
            ". {they} {has} {have}",
            ". {they} {also_wears} {extras}",
            ".",
        ),
        (
            "there is {person}",
            " with {have}",
            " who {wears} {wear}",
            ". {they} {carries} {carry}",
            ". {they} {moves}",
            ".",
        ),
        (
            "{person} {has} {have}",
            ". {they} is {dressed} {main}",
            ", with {extras}",
            ", and {carries} {carry}",
            ". {they} {moves}",
            ".",
        ),
        (
            "{person} {carries} {carry}",
            " and {wears} {wear}",
            ". {they} {has} {have}",
            ". {they} {moves}",
            ".",
        ),
        (
            "{shows} {person} in {main}",
            ", {carrying} {carry}",
            ". {they} {has} {have}",
            ". {they} {wears} {extras}",
            ". {they} {moves}",
            ".",
        ),
        (
            "with {carry}",
            ", {person} {acts}",
            ", {wearing} {wear}",
            ". {they} {has} {have}",
            ".",
        ),
    ),
    join=_join,
    finish=_finish,
)
