"""One file a page. (Not called pages/: Streamlit would run the files there by themselves on a deep link.)"""
