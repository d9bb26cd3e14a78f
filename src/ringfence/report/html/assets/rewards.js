// Reinforcement learning: the reward, its parts and the completions, one panel each, above one another.

const PANEL_HEIGHT = 130; // pixels
const LAST_PANELS = ["completion length", "kl", "ratio"];

/** The names of the panels that any of `runs` has: reward, its parts, then what is about completions and rows. */
function panelNames(runs) {
  const names = [...new Set(runs.flatMap(({ run }) => Object.keys(run.rewards)))].filter((name) => name !== "step");
  return [...names.filter((name) => !LAST_PANELS.includes(name)), ...LAST_PANELS.filter((name) => names.includes(name))];
}

function rewardTrace(name, number, { run, index }) {
  return {
    x: run.rewards.step, y: run.rewards[name], mode: "lines", connectgaps: true, yaxis: number ? `y${number + 1}` : "y",
    line: { color: runColour(index), width: 1.8, dash: runDash(index) },
    hovertemplate: `<b>${plain(run.name)}</b> step %{x}<br>${plain(name)} %{y:.3f}<extra></extra>`,
  };
}

function drawRewards() {
  const chart = byId("chart-rewards");
  if (!chart) return;
  const runs = RUNS.map((run, index) => ({ run, index })).filter(
    ({ run, index }) => run.rewards.step?.length > 0 && !hiddenRuns.has(index),
  );
  const names = panelNames(runs), height = 1 / Math.max(1, names.length);
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
  const last = names.length > 1 ? `y${names.length}` : "y";
  const traces = names.flatMap((name, number) => runs.filter(({ run }) => run.rewards[name]).map((one) => rewardTrace(name, number, one)));
  Plotly.react(chart, traces, layout({ ...axes, annotations: titles, xaxis: stepAxis({ anchor: last }), height: undefined }), CHART_OPTIONS);
}
