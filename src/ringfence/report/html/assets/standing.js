// Leak against task, one dot a run with both intervals, each labelled where there is room.

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "star", "hexagon", "cross"];
const LABEL_HEIGHT = 16, LETTER = 6.7, EDGE = 4; // pixels

/** Where a label may go: [x, y] of its middle from the dot, near ones first. */
function* spots(width) {
  for (const far of [0, 1, 2, 3, 4, 5, 6, 7, 8]) {
    for (const up of far === 0 ? [0] : [far, -far]) {
      for (const side of [1, -1]) yield [side * (width / 2 + 12 + 4 * far), -up * LABEL_HEIGHT];
    }
    if (far > 0) yield* [[0, -(far + 0.4) * LABEL_HEIGHT], [0, (far + 0.4) * LABEL_HEIGHT]];
  }
}

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** The nearest spot for a label of `width` at dot (x, y) that is inside and covers none of `taken`; undefined without one. */
function freeSpot({ x, y }, width, size, taken) {
  for (const [dx, dy] of spots(width)) {
    const box = { left: x + dx - width / 2, right: x + dx + width / 2, top: y + dy - LABEL_HEIGHT / 2, bottom: y + dy + LABEL_HEIGHT / 2 };
    const inside = box.left >= EDGE && box.right <= size.width - EDGE && box.top >= 0 && box.bottom <= size.height;
    if (inside && !taken.some((other) => overlap(box, other))) return { dx, dy, box };
  }
  return undefined;
}

/** Labels that cover neither each other nor a dot; those far from their dot have a line to it. */
function labels(dots, size, room) {
  const taken = dots.map(({ x, y }) => ({ left: x - 8, right: x + 8, top: y - 8, bottom: y + 8 }));
  return dots.flatMap((dot) => {
    const text = dot.name.length > room ? `${dot.name.slice(0, room - 1)}…` : dot.name;
    const spot = freeSpot(dot, LETTER * text.length + 6, size, taken);
    const lost = spot === undefined || (dots.length > 2 * CROWD && Math.abs(spot.dy) > 3 * LABEL_HEIGHT);
    if (lost) return []; // no room near it: the tooltip and the tables name it
    taken.push(spot.box);
    const far = Math.abs(spot.dy) > 1.5 * LABEL_HEIGHT, colour = runColour(dot.index);
    return [{
      x: dot.at[0], y: dot.at[1], ax: spot.dx, ay: spot.dy, text: plain(text), showarrow: true, arrowhead: 0, standoff: 6,
      arrowwidth: far ? 1 : 0.01, arrowcolor: far ? colour : "rgba(0,0,0,0)", font: { size: 12, color: colour },
      bgcolor: translucent(cssColour("--paper"), 0.8), borderpad: 0,
    }];
  });
}

const arm = (rows, colour) => ({
  type: "data", symmetric: false, color: colour, thickness: 1.2, width: 4,
  array: rows.map(([value, , high]) => (high === null ? 0 : 100 * (high - value))),
  arrayminus: rows.map(([value, low]) => (low === null ? 0 : 100 * (value - low))),
});

/** How many of the dots drawn after dot `at` stand on the same place: each ring is drawn around those after it. */
const laterOn = (shown, at) => shown.slice(at + 1)
  .filter((other) => Math.abs(other.leak[0] - shown[at].leak[0]) < 0.01 && Math.abs(other.task[0] - shown[at].task[0]) < 0.01).length;

function standingTrace({ name, index, leak, task, lost }, at, shown) {
  const colour = runColour(index), symbol = SYMBOLS[(isPrinting() ? RUNS[index].place : Math.floor(RUNS[index].place / 7)) % SYMBOLS.length];
  return {
    x: [100 * leak[0]], y: [100 * task[0]], mode: "markers", cliponaxis: false, error_x: arm([leak], translucent(colour, 0.55)),
    error_y: arm([task], translucent(colour, 0.55)), marker: { color: colour, size: (lost ? 14 : 10) + 6 * Math.min(laterOn(shown, at), 4), symbol: lost ? `${symbol}-open` : symbol, line: { width: lost ? 2 : 0, color: colour } },
    hovertemplate: `<b>${plain(name)}</b>${lost ? " lost the task" : ""}<br>leak ${rateText(...leak)}<br>task ${rateText(...task)}<extra></extra>`,
  };
}

function drawStanding() {
  const chart = byId("chart-standing");
  if (!chart) return;
  const shown = TRAINING.standings.map((one, index) => ({ ...one, index, name: RUNS[index].name }))
    .filter(({ leak, task, index }) => leak[0] !== null && task[0] !== null && !hiddenRuns.has(index));
  const margin = { l: 52, r: 14, t: 14, b: 46 }, range = [-4, 104];
  const size = { width: chart.clientWidth - margin.l - margin.r, height: chart.clientHeight - margin.t - margin.b };
  const place = (percents, length) => ((percents - range[0]) / (range[1] - range[0])) * length;
  const dots = shown.map(({ leak, task, name, index }) => ({
    x: place(100 * leak[0], size.width), y: size.height - place(100 * task[0], size.height), at: [100 * leak[0], 100 * task[0]], name, index,
  }));
  const ticks = { range, tickvals: [0, 25, 50, 75, 100] }, ink = cssColour("--ink-3");
  const better = {
    xref: "paper", yref: "paper", x: 0.99, y: 0.02, xanchor: "right", yanchor: "bottom", showarrow: false, text: "↖ better", font: { size: 12, color: ink },
  };
  Plotly.react(chart, shown.map(standingTrace), layout({
    margin, xaxis: axis("leak, % (want low)", ticks), yaxis: axis("task, % (want high)", ticks),
    annotations: [better, ...labels(dots, size, size.width < 420 ? 16 : 28)],
  }), CHART_OPTIONS);
}

addEventListener("resize", () => requestAnimationFrame(drawStanding));
