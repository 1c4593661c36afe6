"""The page of an index: a form, and the hits of its search."""

import html
import math
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from misc.datasets.pictures import read_picture
from misc.retrieval.calibration import WEIGHT
from misc.search.hit import Hit
from misc.search.index import RERANKED, Index
from misc.search.page.cards import BEHAVIOUR, draw_cards
from misc.search.page.form import Form
from misc.search.page.message import message, shown
from misc.search.page.upload import upload_field
from misc.search.page.writing_system import writing_system
from misc.search.query import Query

EXAMPLES = (
    "A man in a green coat, blue jeans, a yellow hat, brown boots",
    "A woman in an orange jacket and a short green skirt",
    "A man in a white shirt and black trousers with a backpack",
)
LOWEST = -1.0  # a threshold at which hits are not judged
FEWEST, MOST = 4, 60  # hits at once
WAITED = "model"  # the name of the queue of searches: one after another


class Page:
    """The page of an index, which may grow while it is served."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.reads_text = index.people.reads_text
        self.first_kind = "words" if self.reads_text else "picture"

    def build(self) -> gr.Blocks:
        """The page in Gradio's terms."""
        # Uploads are deleted after an hour.
        blocks = gr.Blocks(title="Person search", analytics_enabled=False, delete_cache=(600, 3600))
        with blocks:
            headline = gr.HTML(self.headline(), elem_classes="headline")
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    form, button = self._form()
                with gr.Column(scale=2, min_width=300):
                    verdict = gr.Markdown(elem_id="verdict")
                    cards = gr.HTML(js_on_load=BEHAVIOUR, elem_id="hits")
            kind, paths = gr.State(self.first_kind), gr.State([])
            text, image, threshold = form["text"], form["image"], form["threshold"]
            like = cards.select(
                self.like,
                [paths],
                [text, image],
                show_progress="hidden",
                api_visibility="private",
            )
            triggers = [button.click, text.submit, image.upload, threshold.release]
            for listen in (partial(gr.on, triggers), like.success):
                listen(
                    self.search,
                    [kind],
                    [headline, verdict, cards, threshold, kind, paths],
                    inputs_kwargs=form,
                    concurrency_id=WAITED,
                    api_visibility="private",
                )
        return blocks

    def _form(self) -> tuple[dict[str, Any], gr.Button]:
        """The fields by their names in `Form`, and the button that sends them."""
        text = gr.Textbox(
            label="Describe a person",
            placeholder=EXAMPLES[0],
            max_lines=4,
            max_length=1000,
            visible=self.reads_text,
        )
        if self.reads_text:
            gr.Examples([[sentence] for sentence in EXAMPLES], [text], label="For example")
        else:
            gr.Markdown("The model was trained for re-identification: it finds people by a picture")
        image = upload_field(
            "Or a picture, or both" if self.reads_text else "A picture of a person"
        )
        button = gr.Button("Search", variant="primary")
        return {"text": text, "image": image, **self._ranking(), **self._filters()}, button

    def _ranking(self) -> dict[str, Any]:
        has_tracks = len(self.index.table.rows_where("track IS NOT NULL")) > 0
        with gr.Accordion("Matches and order", open=False):
            return {
                "threshold": gr.Slider(
                    LOWEST,
                    1,
                    self.threshold(self.first_kind),
                    step=0.001,
                    label="A match from this score on",
                ),
                "top": gr.Slider(FEWEST, MOST, 12, step=1, label="Hits"),
                "weight": gr.Slider(
                    0,
                    1,
                    WEIGHT,
                    step=0.05,
                    label="Weight of the words beside a picture",
                    visible=self.reads_text,
                ),
                "per_track": gr.Checkbox(label="One hit per track", visible=has_tracks),
                "rerank": gr.Checkbox(label=f"Re-rank the best {RERANKED} (k-reciprocal)"),
            }

    def _filters(self) -> dict[str, Any]:
        cameras = self.index.table.values("camera")
        has_times = len(self.index.table.rows_where("time IS NOT NULL")) > 0
        with gr.Accordion("Filters", open=False):
            return {
                "cameras": gr.Dropdown(
                    cameras, value=[], multiselect=True, label="Cameras", visible=bool(cameras)
                ),
                "start": gr.Textbox(
                    label="From", placeholder="2026-01-31 08:00", visible=has_times
                ),
                "end": gr.Textbox(label="To", placeholder="2026-01-31 18:00", visible=has_times),
                "condition": gr.Textbox(
                    label="Condition in SQL, as of --where", placeholder="path LIKE '%entrance%'"
                ),
            }

    def headline(self) -> str:
        """The title, the size of the index, and its model."""
        file = self.index.people.file.resolve()
        model = html.escape(f"{file.parent.name}/{file.name}")
        return f"<h1>Person search</h1><p>{len(self.index):,} pictures · model {model}</p>"

    def threshold(self, kind: str) -> float:
        """The calibrated threshold, rounded up as the slider has it; `LOWEST` if there is none."""
        found = self.index.threshold(kind)
        return LOWEST if found is None else min(1.0, math.ceil(1000 * found) / 1000)

    def search(self, kind: str | None, **fields: Any) -> tuple[object, ...]:
        """Search with the form.

        Args:
            kind: of the last query. Another one has another threshold: the calibrated one.
            fields: of a `Form`.

        Returns:
            The headline, the verdict, the cards, the threshold, the kind of the query, the paths
            of the hits.

        Raises:
            gr.Error: a mistake in the form.
        """
        form = Form(**fields)
        with shown():
            query = form.query()
            threshold = form.threshold if query.kind == kind else self.threshold(query.kind)
            hits = self.index.search(
                query.text,
                query.image,
                int(form.top),
                form.where(),
                weight=query.weight,
                per_track=form.per_track,
                rerank=form.rerank,
                exact=not self.index.table.is_approximate,
                threshold=threshold,
            )
        return (
            self.headline(),
            "  \n".join([*self._remark(query), *self._verdict(hits, query, threshold)]),
            draw_cards(hits, judged=threshold > LOWEST),
            gr.skip() if query.kind == kind else threshold,  # it may be moved meanwhile
            query.kind,
            [hit.path for hit in hits],
        )

    def like(self, paths: list[str], event: gr.EventData) -> tuple[str, Image.Image]:
        """Put the picture of a hit into the form, instead of words."""
        place = event._data.get("place")
        if not isinstance(place, int) or not 0 <= place < len(paths):
            raise message("That hit is not there any more; search again")
        with shown():
            return "", read_picture(Path(paths[place]))

    def _verdict(self, hits: list[Hit], query: Query, threshold: float) -> list[str]:
        """Whether the person is there, as far as that is known."""
        if not hits:
            return ["No picture fulfils the filters" if len(self.index) else "The index is empty"]
        calibrated = self.index.threshold(query.kind) is not None
        unsure = (
            "Not calibrated for this kind of query: whether the person is there is for you to see"
        )
        if threshold <= LOWEST:
            return ["Hits are not judged" if calibrated else unsure]
        matches = sum(hit.matched is True for hit in hits)
        if not matches:
            best = max(hit.score for hit in hits)
            return [f"**No match**: the best score, {best:.3f}, is below {threshold:.3f}"]
        number = "1 match" if matches == 1 else f"{matches} matches"
        return [f"**{number}** among {len(hits)} hits, from {threshold:.3f} on"]

    def _remark(self, query: Query) -> list[str]:
        """A warning about words that the backbone was not trained on."""
        writing = writing_system(query.text or "")
        if writing is None or self.index.people.config.model.backbone != "clip":
            return []
        return [f"{writing} sentence: CLIP, the backbone of this model, reads English"]
