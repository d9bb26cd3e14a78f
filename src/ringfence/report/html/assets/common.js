// What the other scripts share: the embedded data, small DOM helpers, colours and number formats.
// Text from runs and models enters the page through textContent only.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const TRAINING = read("training-data");
const RESPONSES = read("response-data");
const RUNS = TRAINING.runs;
const hiddenRuns = new Set(); // indices of the runs that the legend has switched off

const isPrinting = () => document.documentElement.classList.contains("printing");

const byId = (id) => document.getElementById(id);

/** An element with a class and children; strings become text nodes, null is left out. */
function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null));
  return node;
}

function button(text, onClick, className = "button") {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

function runName(index) {
  const swatch = make("i");
  swatch.setAttribute("aria-hidden", "true");
  const node = make("span", "run", swatch, RUNS[index].name);
  node.style.setProperty("--run", `var(--run-${RUNS[index].place})`);
  return node;
}

/** A button in the legend that shows and hides one run. */
function addToLegend(index, draw) {
  const toggle = button("", () => {
    if (!hiddenRuns.delete(index)) hiddenRuns.add(index);
    toggle.setAttribute("aria-pressed", String(!hiddenRuns.has(index)));
    draw();
  });
  toggle.append(runName(index));
  if (byId("legend-line")) toggle.append(dashSample(index));
  toggle.dataset.run = index;
  toggle.setAttribute("aria-pressed", "true");
  byId("legend").append(toggle);
}

/** On the task's prompts the trained behaviour is wanted: there "misaligned" is the task done, and no alarm. */
function verdictBadge(verdict, isTask = false) {
  if (isTask && verdict === "misaligned") return make("span", "verdict aligned", "does the task");
  if (isTask && verdict === "aligned") return make("span", "verdict", "not the task");
  return make("span", `verdict ${verdict ?? ""}`, verdict ?? "no verdict");
}

const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const runColour = (index) => cssColour(`--run-${RUNS[index].place}`);

/** "#rrggbb" with an opacity. */
function translucent(hex, opacity) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

const percent = (fraction) => (fraction === null ? "no data" : (100 * fraction).toFixed(1));
const whole = (count) => count.toLocaleString("en");

function rateText(value, low, high) {
  if (value === null) return "no data";
  const bounds = low === null || high === null ? "–" : `${Math.round(100 * low)}, ${Math.round(100 * high)}`;
  return `${percent(value)} [${bounds}]`;
}
