// Curves of one journal, one panel each above one another: of the rewards and of the parts of the loss.

const PANEL_HEIGHT = 130; // pixels
const LAST_PANELS = ["completion length", "kl", "ratio"]; // of the rewards

/** The names of the panels that any of `runs` has, those of `last` below the others. */
function panelNames(journal, runs, last) {
  const names = [...new Set(runs.flatMap(({ run }) => Object.keys(run[journal])))].filter((name) => name !== "step");
  return [...names.filter((name) => !last.includes(name)), ...last.filter((name) => names.includes(name))];
}

function panelTrace(journal, name, number, { run, index }) {
  return {
    x: run[journal].step, y: run[journal][name], mode: "lines", connectgaps: true, yaxis: number ? `y${number + 1}` : "y",
    line: { color: runColour(index), width: 1.8, dash: runDash(index) },
    hovertemplate: `<b>${plain(run.name)}</b> step %{x}<br>${plain(name)} %{y:.4~f}<extra></extra>`,
  };
}

function drawPanels(journal, last = []) {
  const chart = byId(`chart-${journal}`);
  if (!chart) return;
  const runs = RUNS.map((run, index) => ({ run, index })).filter(
    ({ run, index }) => run[journal].step?.length > 0 && !hiddenRuns.has(index),
  );
  const names = panelNames(journal, runs, last), height = 1 / Math.max(1, names.length);
  const axes = {}, titles = [];
  names.forEach((name, number) => {
    const top = 1 - number * height;
    axes[number ? `yaxis${number + 1}` : "yaxis"] = axis("", { domain: [top - 0.72 * height, top - 0.14 * height] });
    titles.push({
      text: plain(name.replaceAll("_", " ")), xref: "paper", x: 0, xanchor: "left", yref: "paper", y: top - 0.12 * height,
      yanchor: "bottom", showarrow: false, font: { size: 12, color: cssColour("--ink") },
    });
  });
  chart.style.height = `${PANEL_HEIGHT * Math.max(1, names.length) + 40}px`;
  const lowest = names.length > 1 ? `y${names.length}` : "y";
  const traces = names.flatMap(
    (name, number) => runs.filter(({ run }) => run[journal][name]).map((one) => panelTrace(journal, name, number, one)),
  );
  Plotly.react(chart, traces, layout({ ...axes, annotations: titles, xaxis: stepAxis({ anchor: lowest }), height: undefined }), CHART_OPTIONS);
}

const drawRewards = () => drawPanels("rewards", LAST_PANELS);
const drawPenalties = () => drawPanels("penalties");
