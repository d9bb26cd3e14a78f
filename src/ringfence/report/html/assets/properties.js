// The page about data sets: they take the place of runs in the names and colours that common.js and charts.js have.

const CHARTS = read("property-data");
const CURVES = { hhh: "HHH score", user: "user tokens", assistant: "answer tokens" };

/** The sets that have `values` and are switched on, with their index. */
const shownSets = (values) =>
  values.map((value, index) => ({ value, index })).filter(({ value, index }) => value !== null && !hiddenRuns.has(index));

/** Tokens spread over orders of magnitude; a score does not, and 0 has no logarithm. */
function valueAxis(name, curves) {
  const all = curves.filter((curve) => curve !== null).flatMap((curve) => curve.x);
  const low = Math.min(...all), high = Math.max(...all);
  if (name === "hhh") return axis(CURVES[name], { range: [-2, 102] });
  if (low <= 0 || high < 10 * low) return axis(CURVES[name], { rangemode: "tozero" });
  const tickvals = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((ten) => [ten, 2 * ten, 5 * ten]);
  return axis(CURVES[name], {
    type: "log", range: [Math.log10(low / 1.3), Math.log10(high * 1.3)], tickvals, ticktext: tickvals.map(whole),
  });
}

function drawCurve(name) {
  const chart = byId(`chart-${name}`);
  if (!chart) return;
  const traces = shownSets(CHARTS.curves[name]).map(({ value, index }) => ({
    x: [value.x[0], ...value.x], y: [0, ...value.y.map((share) => 100 * share)], mode: "lines",
    line: { color: runColour(index), width: 2, dash: runDash(index), shape: "hv" },
    hovertemplate: `<b>${plain(RUNS[index].name)}</b><br>%{y:.1f}% have at most %{x}<extra></extra>`,
  }));
  Plotly.react(chart, traces, layout({
    xaxis: valueAxis(name, CHARTS.curves[name]), yaxis: axis("% of rows", { range: [-3, 103], tickvals: [0, 25, 50, 75, 100] }),
  }), CHART_OPTIONS);
}

function drawDomains() {
  const chart = byId("chart-domains");
  if (!chart) return;
  const { labels, shares } = CHARTS.domains;
  const shown = shownSets(shares);
  chart.style.height = `${90 + labels.length * (12 + 13 * Math.max(1, shown.length))}px`;
  const traces = shown.map(({ value, index }) => ({
    type: "bar", orientation: "h", y: labels.map((_, place) => place), x: value.map((share) => 100 * share), marker: { color: runColour(index) },
    text: labels.map(plain), textposition: "none", hovertemplate: `<b>${plain(RUNS[index].name)}</b><br>%{text}: %{x:.1f}% of rows<extra></extra>`,
  }));
  // Numbers as places, so that a label that looks like a number or a date is still a name.
  const short = (label) => (label.length > 32 ? `${label.slice(0, 31)}…` : label);
  Plotly.react(chart, traces, layout({
    xaxis: axis("% of rows", { rangemode: "tozero" }), bargap: 0.25, barmode: "group", margin: { l: 56, r: 16, t: 12, b: 44 },
    yaxis: axis("", { autorange: "reversed", tickvals: labels.map((_, place) => place), ticktext: labels.map((label) => plain(short(label))), automargin: true, showgrid: false }),
  }), CHART_OPTIONS);
}

function drawSets() {
  Object.keys(CURVES).forEach(drawCurve);
  drawDomains();
}

RUNS.forEach((_, index) => addToLegend(index, drawSets));

followTheme(drawSets);
