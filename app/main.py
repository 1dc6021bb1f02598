"""Entry point: `streamlit run app/main.py`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # streamlit puts app/ on the path, not the folder above it
    sys.path.insert(0, str(HERE.parent))

from app import start  # noqa: E402

start.once()

import streamlit as st  # noqa: E402

from app import journal, lecture  # noqa: E402

st.set_page_config(
    page_title="Dual-BN Explorer",
    page_icon=str(HERE / "static" / "favicon.png"),
    layout="wide",
    menu_items={"About": "Dual batch normalization in hybrid adversarial training (arXiv 2403.19150), explored."},
)
if not lecture.on():
    st.logo(str(HERE / "static" / "logo.svg"), size="large")
page = st.navigation(
    [
        st.Page(HERE / "screens" / "explore.py", title="Explore", default=True),
        st.Page(HERE / "screens" / "tour.py", title="Guided tour", url_path="tour"),
        st.Page(HERE / "screens" / "compare.py", title="Compare", url_path="compare"),
        st.Page(HERE / "screens" / "layers.py", title="Layers", url_path="layers"),
        st.Page(HERE / "screens" / "attack.py", title="Attack", url_path="attack"),
        st.Page(HERE / "screens" / "attribution.py", title="Attribution", url_path="attribution"),
        st.Page(HERE / "screens" / "image.py", title="Your image", url_path="image"),
        st.Page(HERE / "screens" / "paper.py", title="The paper", url_path="paper"),
        st.Page(HERE / "screens" / "models.py", title="Models and data", url_path="models"),
        st.Page(HERE / "screens" / "words.py", title="Words", url_path="words"),
    ],
    position="hidden" if lecture.on() else "top",
)
lecture.begin()
with journal.page_run(page.url_path or "explore"):
    page.run()
lecture.end()
