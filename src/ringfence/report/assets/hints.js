// What is wider than its place says so: a line of words, and a shade at the edge that hides something.

const WIDE = ".scroll, nav, .columns, pre";

function hint(node) {
  const hidden = node.scrollWidth - node.clientWidth;
  node.classList.toggle("more-right", hidden > 1 && node.scrollLeft < hidden - 1);
  node.classList.toggle("more-left", hidden > 1 && node.scrollLeft > 1);
  const words = node.previousElementSibling;
  if (words?.classList.contains("swipe")) words.hidden = hidden <= 1;
}

function setUpHints() {
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => hint(target)));
  document.querySelectorAll(WIDE).forEach((node) => {
    node.addEventListener("scroll", () => hint(node), { passive: true });
    resized.observe(node);
    hint(node);
  });
  document.querySelectorAll("details").forEach((details) => {
    details.addEventListener("toggle", () => details.querySelectorAll(WIDE).forEach(hint));
  });
}
