// What is wider than its place says so: words above a table, and a shade at the edge that hides something.

const WIDE = ".scroll, nav, .columns, pre";

/** The words above a table; made when it is first too wide. */
function words(node) {
  const before = node.previousElementSibling;
  if (before?.classList.contains("swipe")) return before;
  const made = document.createElement("p");
  made.className = "swipe";
  made.setAttribute("aria-hidden", "true"); // a reader of the screen has all columns
  made.textContent = "More columns to the right: scroll sideways →";
  node.before(made);
  return made;
}

function hint(node) {
  const hidden = node.scrollWidth - node.clientWidth, cut = hidden > 1;
  node.classList.toggle("more-right", cut && node.scrollLeft < hidden - 1);
  node.classList.toggle("more-left", cut && node.scrollLeft > 1);
  if (node.classList.contains("scroll") && (cut || node.previousElementSibling?.classList.contains("swipe"))) words(node).hidden = !cut;
}

const hintAll = () => document.querySelectorAll(WIDE).forEach(hint);
const seen = new ResizeObserver((entries) => entries.forEach(({ target }) => hint(target)));

document.querySelectorAll(WIDE).forEach((node) => seen.observe(node));
addEventListener("resize", hintAll);
document.addEventListener("toggle", hintAll, true);
document.addEventListener("scroll", ({ target }) => target instanceof Element && target.matches(WIDE) && hint(target), true);
hintAll();
