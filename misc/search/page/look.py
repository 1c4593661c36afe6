"""The look of the page: its theme and style sheet."""

import gradio as gr

# Fonts of the system: none is fetched.
THEME = gr.themes.Default(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)
CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
.html-container { padding: 0 !important; }
.headline h1 { font-size: 1.5rem; margin: 0; }
.headline p { margin: 0; color: var(--body-text-color-subdued); }
#verdict { min-height: 1.5em; }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.card {
    margin: 0; padding: 8px; display: flex; flex-direction: column; gap: 6px;
    border: 1px solid var(--border-color-primary); border-radius: 10px;
    background: var(--background-fill-primary);
}
.card img, .card .gone {
    width: 100%; height: 210px; object-fit: contain; border-radius: 6px; margin: 0;
    background: var(--background-fill-secondary);
}
.card .gone { display: grid; place-items: center; color: var(--body-text-color-subdued); }
.card figcaption {
    margin: 0; display: flex; flex-wrap: wrap; align-items: center; gap: 0 6px;
    font-size: 0.85rem; color: var(--body-text-color);
}
.card .rank { font-weight: 600; }
.card .score { font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); }
.card .facts { flex-basis: 100%; font-size: 0.78rem; color: var(--body-text-color-subdued); }
.card .mark { margin-left: auto; font-size: 0.7rem; padding: 1px 6px; border-radius: 999px; }
.card.match .mark { background: #ccfbf1; color: #115e59; }
.card.no-match .mark { background: #e2e8f0; color: #475569; }
.card.no-match img { opacity: 0.7; }
.card button {
    width: 100%; padding: 5px 0; margin-top: auto; cursor: pointer; font-size: 0.8rem;
    border: 1px solid var(--border-color-primary); border-radius: 6px;
    background: var(--button-secondary-background-fill); color: var(--body-text-color);
}
.card button:hover { background: var(--button-secondary-background-fill-hover); }
@media (max-width: 640px) {
    .cards { grid-template-columns: 1fr 1fr; }
}
"""
