"""Entry point: `streamlit run app/main.py`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # streamlit puts app/ on the path, not the folder above it
    sys.path.insert(0, str(HERE.parent))
# Torch's threads wait by spinning and starve each other where anything else runs; read once, when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import streamlit as st  # noqa: E402

st.set_page_config(
    page_title="Dual-BN Explorer",
    page_icon=str(HERE / "static" / "favicon.png"),
    layout="wide",
    menu_items={"About": "Dual batch normalization in hybrid adversarial training (arXiv 2403.19150), explored."},
)
st.logo(str(HERE / "static" / "logo.svg"), size="large")
st.navigation(
    [
        st.Page(HERE / "screens" / "explore.py", title="Explore", default=True),
        st.Page(HERE / "screens" / "about.py", title="Models and data", url_path="about"),
    ],
    position="top",
).run()
