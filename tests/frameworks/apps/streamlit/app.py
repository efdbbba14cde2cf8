import streamlit as st

st.markdown("as it was")
word = st.text_input("word")
st.markdown(f"heard {word}")
file = st.file_uploader("file")
st.markdown(f"got {file.getvalue().decode() if file else 'nothing'}")
