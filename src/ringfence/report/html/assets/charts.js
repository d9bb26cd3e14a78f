// Charts over steps: leak with intervals, the controller's risk and ratio, training loss; and how all charts look.

const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"]; // colours are nearer each other after seven runs: the dash changes
/** On paper, which may be grey, every run has another dash. */
const runDash = (index) => DASHES[(isPrinting() ? RUNS[index].place : Math.floor(RUNS[index].place / 7)) % DASHES.length];
const STROKES = { solid: "", dash: "6 4", dot: "1.5 3", dashdot: "6 3 1.5 3", longdash: "11 4" };

/** The line that a run has on paper, for the legend there. */
function dashSample(index) {
  const picture = byId("legend-line").content.firstElementChild.cloneNode(true);
  picture.firstElementChild.setAttribute("stroke-dasharray", STROKES[DASHES[RUNS[index].place % DASHES.length]]);
  return picture;
}

const CROWD = 8; // runs from which on bands and labels would only cover each other
const CHART_OPTIONS = { responsive: true, displaylogo: false, displayModeBar: false };

/** The runs that have rows in `journal` and are switched on, with their index. */
function shownRuns(journal) {
  return RUNS.map((run, index) => ({ run, index })).filter(
    ({ run, index }) => run[journal].step.length > 0 && !hiddenRuns.has(index),
  );
}

function axis(title, more = {}) {
  const rule = cssColour("--rule");
  return {
    title: { text: title, standoff: 10 }, gridcolor: rule, linecolor: cssColour("--rule-strong"), zeroline: false,
    fixedrange: true, ...more,
  };
}

function layout(more) {
  const ink = cssColour("--ink-2");
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: cssColour("--sans"), size: 12, color: ink }, margin: { l: 56, r: 52, t: 12, b: 44 },
    hoverlabel: { bgcolor: cssColour("--raised"), bordercolor: cssColour("--rule-strong"), font: { color: cssColour("--ink") } },
    ...more,
  };
}

/** Model text never gets here, but run names do: plotly would read tags in them. */
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** The rows of one suite and metric of a run's curve, by step. */
function curveRows(curve, suite, metric) {
  const rows = curve.step.map((step, i) => ({
    step, suite: curve.suite[i], metric: curve.metric[i], value: curve.value[i], low: curve.low[i], high: curve.high[i], n: curve.n[i],
  }));
  return rows.filter((row) => row.suite === suite && row.metric === metric).sort((a, b) => a.step - b.step);
}

/** The same steps on every chart, so that they can be read one above the other. */
function stepAxis(more = {}) {
  const last = Math.max(1, ...RUNS.flatMap((run) => ["log", "control", "curve", "rewards", "penalties"].map((journal) => run[journal].step?.at(-1) ?? 0)));
  return axis("optimizer step", { range: [0, 1.02 * last], ...more });
}

/** The interval as closed polygons, one for each stretch without a gap in the data. */
function band(rows, index) {
  const x = [], y = [];
  let stretch = [];
  const close = () => {
    const back = stretch.toReversed();
    x.push(...stretch.map((row) => row.step), ...back.map((row) => row.step), null);
    y.push(...stretch.map((row) => 100 * row.high), ...back.map((row) => 100 * row.low), null);
    stretch = [];
  };
  for (const row of rows) {
    if (row.value === null || row.low === null || row.high === null) close();
    else stretch.push(row);
  }
  close();
  return {
    x, y, mode: "lines", fill: "toself", line: { width: 0 }, hoverinfo: "skip", fillcolor: translucent(runColour(index), 0.13),
  };
}

function leakTraces(rows, { run, index }, crowded) {
  const colour = runColour(index);
  const measured = rows.filter((row) => row.value !== null);
  const peak = measured.reduce((best, row) => (best === null || row.value > best.value ? row : best), null);
  const traces = [...(crowded ? [] : [band(rows, index)]), {
    x: rows.map((row) => row.step), y: rows.map((row) => (row.value === null ? null : 100 * row.value)), mode: "lines+markers",
    line: { color: colour, width: 2, dash: runDash(index) }, marker: { color: colour, size: 6 }, connectgaps: false,
    text: rows.map((row) => `${rateText(row.value, row.low, row.high)}, n ${row.n}`),
    hovertemplate: `<b>${plain(run.name)}</b> step %{x}<br>%{text}<extra></extra>`,
  }];
  if (peak !== null && peak.value > measured.at(-1).value) {
    traces.push({
      x: [peak.step], y: [100 * peak.value], mode: crowded ? "markers" : "markers+text", text: [`peak ${percent(peak.value)}`], textposition: "top center",
      marker: { symbol: "diamond-open", size: 13, color: colour, line: { width: 2 } }, textfont: { color: colour }, hoverinfo: "skip",
    });
  }
  return traces;
}

function drawLeak() {
  const chart = byId("chart-leak");
  if (!chart) return;
  const shown = shownRuns("curve");
  const traces = shown.flatMap((one) => {
    const rows = curveRows(one.run.curve, chart.dataset.suite, chart.dataset.metric);
    return rows.length ? leakTraces(rows, one, shown.length > CROWD) : [];
  });
  Plotly.react(chart, traces, layout({
    xaxis: stepAxis(), yaxis: axis("% of answers", { range: [-3, 108], tickvals: [0, 25, 50, 75, 100] }),
  }), CHART_OPTIONS);
}

/** Risk of each probe, its smoothed value and the ratio, for one run under control. */
function controlTraces({ run, index }) {
  const control = run.control, colour = runColour(index);
  const line = { color: colour, width: 2, dash: runDash(index) };
  const scored = control.step.map((_, i) => (control.total[i] === null ? "" : `<br>scored ${control.scored[i]} of ${control.total[i]}`));
  const hover = (what) => `<b>${plain(run.name)}</b> step %{x}<br>${what} %{y:.3f}%{text}<extra></extra>`;
  return [
    {
      x: control.step, y: control.risk, mode: "markers", cliponaxis: false, text: scored, hovertemplate: hover("risk"),
      marker: { color: colour, size: 7, opacity: 0.55, symbol: control.held.map((held) => (held ? "x" : "circle")) },
    },
    { x: control.step, y: control.smoothed_risk, mode: "lines", line, text: scored, hovertemplate: hover("smoothed risk") },
    {
      x: control.step, y: control.ratio, mode: "lines", line: { ...line, shape: "hv" }, yaxis: "y2", text: scored,
      hovertemplate: hover("ratio"),
    },
  ];
}

/** One dashed line with a label for each distinct threshold. */
function thresholdMarks(runs) {
  const labels = new Map();
  for (const { run } of runs) {
    run.control.risk_high.forEach((high) => labels.set(high, ["↑", "bottom"]));
    run.control.risk_low.forEach((low) => labels.set(low, ["↓", "top"]));
  }
  labels.delete(null);
  const ink = cssColour("--ink-3");
  const shapes = [...labels.keys()].map((y) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: y, y1: y, line: { color: ink, width: 1, dash: "dash" },
  }));
  const annotations = [...labels].map(([y, [arrow, yanchor]]) => ({
    xref: "paper", x: 1, xanchor: "left", xshift: 4, yref: "y", y, yanchor, text: `${arrow} ${y}`,
    showarrow: false, font: { size: 11, color: ink },
  }));
  return { shapes, annotations };
}

function drawControl() {
  const chart = byId("chart-control");
  if (!chart) return;
  const runs = shownRuns("control");
  Plotly.react(chart, runs.flatMap(controlTraces), layout({
    ...thresholdMarks(runs), xaxis: stepAxis({ anchor: "y2" }),
    yaxis: axis("risk", { domain: [0.46, 1], rangemode: "tozero" }), yaxis2: axis("ratio", { domain: [0, 0.36], rangemode: "tozero" }),
  }), CHART_OPTIONS);
}

function drawLoss() {
  const chart = byId("chart-loss");
  if (!chart) return;
  const traces = shownRuns("log").map(({ run, index }) => ({
    x: run.log.step, y: run.log.loss, mode: "lines", connectgaps: false, line: { color: runColour(index), width: 1.6, dash: runDash(index) },
    hovertemplate: `<b>${plain(run.name)}</b> step %{x}<br>loss %{y:.4f}<extra></extra>`,
  }));
  Plotly.react(chart, traces, layout({
    xaxis: stepAxis(), yaxis: axis("loss", { rangemode: "tozero" }),
  }), CHART_OPTIONS);
}

const drawings = () => [drawStanding, drawLeak, drawControl, drawPenalties, drawRewards, drawLoss];
let drawing = 0;

/** Each chart in a task of its own: with fifty runs one takes a while, and between them the page answers. */
function drawCharts() {
  const turn = (drawing += 1);
  for (const draw of drawings()) setTimeout(() => { if (turn === drawing) draw(); });
}

const drawChartsNow = () => drawings().forEach((draw) => draw());
