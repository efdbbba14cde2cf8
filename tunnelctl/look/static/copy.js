/* A click on a `[data-copy]` button copies that text, and the button says so for a moment. */
"use strict";
(() => {
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const field = document.createElement("textarea");
      field.value = button.dataset.copy;
      field.className = "aside";
      button.after(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    button.classList.add("done");
    button.querySelector(".aside").textContent = "Copied";
    setTimeout(() => button.classList.remove("done"), 1600);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
})();
