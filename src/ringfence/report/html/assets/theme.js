"use strict";
// Light or dark: what the reader has clicked, else what the system says.

/** `draw` is called now, and whenever the colours change; `drawNow`, which may not put anything off, before printing. */
function followTheme(draw, drawNow = draw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const toggle = document.getElementById("theme");
  let chosen = null; // null follows the system
  const wanted = () => chosen ?? (system.matches ? "dark" : "light");
  const apply = (theme, drawn = draw) => {
    document.documentElement.dataset.theme = theme;
    toggle.textContent = theme === "dark" ? "Light" : "Dark";
    drawn();
  };
  toggle.addEventListener("click", () => {
    chosen = wanted() === "dark" ? "light" : "dark";
    apply(chosen);
  });
  system.addEventListener("change", () => apply(wanted()));
  // Paper is white, often without colours, and what is folded away cannot be unfolded on it.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    apply("light", drawNow);
    unfolded = [...document.querySelectorAll("details.source:not([open]), details.glossary:not([open])")];
    unfolded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    unfolded.forEach((details) => { details.open = false; });
    apply(wanted());
  });
  apply(wanted());
}
