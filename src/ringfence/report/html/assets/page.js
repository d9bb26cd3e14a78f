// Theme, legend, printing; then everything is drawn once.

RUNS.forEach((run, index) => {
  if (["log", "control", "curve"].some((journal) => run[journal].step.length > 0)) addToLegend(index, drawCharts);
});

byId("curve-choice")?.addEventListener("change", (event) => {
  const { suite, metric } = event.target.selectedOptions[0].dataset;
  Object.assign(byId("chart-leak").dataset, { suite, metric });
  drawLeak();
});

followTheme(drawCharts);
setUpResponses();
