// Theme, legend, printing; then everything is drawn once.

const systemDark = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = null; // what the reader clicked; null follows the system

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  drawCharts();
}

const wantedTheme = () => chosenTheme ?? (systemDark.matches ? "dark" : "light");

byId("theme").addEventListener("click", () => {
  chosenTheme = wantedTheme() === "dark" ? "light" : "dark";
  applyTheme(chosenTheme);
});
systemDark.addEventListener("change", () => applyTheme(wantedTheme()));

// Paper is white, and what is folded away cannot be unfolded on it.
addEventListener("beforeprint", () => {
  applyTheme("light");
  document.querySelectorAll("details.source, details.glossary").forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => applyTheme(wantedTheme()));

RUNS.forEach((run, index) => {
  if (["log", "control", "curve"].every((journal) => run[journal].step.length === 0)) return;
  const toggle = button("", () => {
    if (!hiddenRuns.delete(index)) hiddenRuns.add(index);
    toggle.setAttribute("aria-pressed", String(!hiddenRuns.has(index)));
    drawCharts();
  });
  toggle.append(runName(index));
  toggle.setAttribute("aria-pressed", "true");
  byId("legend").append(toggle);
});

byId("curve-choice")?.addEventListener("change", (event) => {
  const { suite, metric } = event.target.selectedOptions[0].dataset;
  Object.assign(byId("chart-leak").dataset, { suite, metric });
  drawLeak();
});

applyTheme(wantedTheme());
setUpResponses();
