// Theme, legend, printing; then everything is drawn once.

const logged = RUNS.map((run, index) => ({ run, index })).filter(
  ({ run }) => ["log", "control", "curve"].some((journal) => run[journal].step.length > 0),
);

/** The runs that `keep` says are on in the charts, and the others off. */
function showRuns(keep) {
  RUNS.forEach((_, index) => { if (keep(index)) hiddenRuns.delete(index); else hiddenRuns.add(index); });
  document.querySelectorAll("#legend [data-run]").forEach((toggle) => {
    toggle.setAttribute("aria-pressed", String(!hiddenRuns.has(Number(toggle.dataset.run))));
  });
  drawCharts();
}

/** Of many runs only those whose names hold every word of `text`: in the tables, the charts and their legend. */
function filterRuns(text) {
  const words = fold(text).split(/\s+/).filter(Boolean);
  const kept = RUNS.map(({ name }) => words.every((word) => fold(name).includes(word)));
  document.querySelectorAll("[data-run]").forEach((node) => { node.hidden = !kept[Number(node.dataset.run)]; });
  byId("filtered").textContent = `${whole(kept.filter(Boolean).length)} of ${whole(RUNS.length)}`;
  showRuns((index) => kept[index]);
}

if (logged.length > CROWD) {
  byId("legend").append(button("Show all", () => showRuns(() => true)), button("Hide all", () => showRuns(() => false)));
}
byId("filter-runs")?.addEventListener("input", ({ target }) => filterRuns(target.value));
logged.forEach(({ index }) => addToLegend(index, drawCharts));

byId("curve-choice")?.addEventListener("change", (event) => {
  const { suite, metric } = event.target.selectedOptions[0].dataset;
  Object.assign(byId("chart-leak").dataset, { suite, metric });
  drawLeak();
});

followTheme(drawCharts, drawChartsNow);
setUpResponses();
