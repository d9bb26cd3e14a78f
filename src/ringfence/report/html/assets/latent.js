// Three scatter plots of the same places, coloured by projection, by measured misalignment (else by set), and by tokens.

const byId = (id) => document.getElementById(id);
const { sets, em, rows, marks } = JSON.parse(byId("latent-data").textContent);
const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => document.documentElement.dataset.theme === "dark";
/** Names come from outside: plotly would read tags in them. */
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// From bright to deep, so that they can be told apart without colours; neither end vanishes in the background.
const scale = () => (isDark()
  ? [[0, "#ffd166"], [0.5, "#ef7fb0"], [1, "#5b8def"]]
  : [[0, "#d69a00"], [0.5, "#b03a7a"], [1, "#1f2f7a"]]);
const measured = em.some((rate) => rate !== null);
const percent = (rate) => (rate === null ? "not measured" : `${(100 * rate).toFixed(1)}%`);
const hover = rows.set.map((set, index) =>
  `${plain(sets[set])}<br>${plain(rows.origin[index])}<br>projection ${rows.projection[index].toPrecision(3)}, `
  + `${rows.tokens[index]} tokens, EM ${percent(em[set])}`);

/** The points at `places` (indices of rows), with a marker of their own. */
function trace(places, marker) {
  const pick = (column) => places.map((index) => column[index]);
  return {
    type: "scatter", mode: "markers", x: pick(rows.x), y: pick(rows.y), text: pick(hover), hoverinfo: "text",
    marker: { size: rows.x.length > 1500 ? 4 : 6, opacity: 0.85, ...marker }, showlegend: false,
  };
}

function coloured(values) {
  const known = values.flatMap((value, index) => (value === null ? [] : [index]));
  const unknown = values.flatMap((value, index) => (value === null ? [index] : []));
  return [
    trace(unknown, { color: cssColour("--rule-strong") }),
    trace(known, {
      color: known.map((index) => values[index]), colorscale: scale(),
      colorbar: { thickness: 10, outlinewidth: 0, tickfont: { color: cssColour("--ink-2") } },
    }),
  ];
}

function bySet() {
  return sets.map((name, set) => ({
    ...trace(rows.set.flatMap((own, index) => (own === set ? [index] : [])), { color: cssColour(`--run-${set}`) }),
    name: plain(name), showlegend: true,
  }));
}

function rings() {
  return {
    type: "scatter", mode: "markers", x: marks.x, y: marks.y, showlegend: false, hoverinfo: "text",
    text: marks.name.map((name, index) => `${plain(name)}<br>projection ${marks.projection[index].toPrecision(3)}`),
    marker: { size: 11, color: cssColour("--raised"), line: { width: 2.5, color: cssColour("--ink") } },
  };
}

function draw() {
  const axis = { showticklabels: false, ticks: "", showgrid: false, zeroline: false, linecolor: cssColour("--rule-strong"), mirror: true, showline: true };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", margin: { l: 8, r: 8, t: 8, b: 8 },
    font: { family: cssColour("--sans"), size: 12, color: cssColour("--ink-2") }, xaxis: axis, yaxis: axis,
    legend: { orientation: "h", y: -0.02 },
    hoverlabel: { bgcolor: cssColour("--raised"), bordercolor: cssColour("--rule-strong"), font: { color: cssColour("--ink") } },
  };
  const panels = {
    "by-projection": coloured(rows.projection),
    "by-em": measured ? coloured(rows.set.map((set) => (em[set] === null ? null : 100 * em[set]))) : bySet(),
    "by-tokens": coloured(rows.tokens),
  };
  for (const [id, traces] of Object.entries(panels)) {
    Plotly.react(byId(id), marks.x.length ? [...traces, rings()] : traces, structuredClone(layout), { responsive: true, displaylogo: false, displayModeBar: false });
  }
}

followTheme(draw);
