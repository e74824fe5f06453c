"use strict";
const buttons = document.querySelectorAll("button[data-state]");
const cards = document.querySelectorAll("article[data-state]");
for (const button of buttons) {
  button.addEventListener("click", () => {
    const wanted = button.dataset.state;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    for (const card of cards) card.hidden = wanted !== "all" && card.dataset.state !== wanted;
  });
}
