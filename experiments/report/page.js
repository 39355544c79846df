"use strict";

// A slider shows one of its pictures and says which.
for (const stage of document.querySelectorAll("[data-slider]")) {
  const input = stage.querySelector("input");
  const output = stage.querySelector("output");
  const figures = stage.querySelectorAll("figure");
  const captions = JSON.parse(input.dataset.captions);
  input.addEventListener("input", () => {
    const chosen = Number(input.value);
    figures.forEach((figure, i) => { figure.hidden = i !== chosen; });
    output.textContent = captions[chosen];
    input.setAttribute("aria-valuetext", captions[chosen]);
  });
}

// A divider is moved with its slider, or by dragging on the picture.
for (const stage of document.querySelectorAll("[data-divider]")) {
  const input = stage.querySelector("input");
  const pair = stage.querySelector(".pair");
  const show = () => stage.style.setProperty("--share", `${input.value}%`);
  input.addEventListener("input", show);
  const drag = (event) => {
    if (!event.buttons) return;
    const box = pair.getBoundingClientRect();
    input.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    show();
    event.preventDefault();
  };
  pair.addEventListener("pointerdown", drag);
  pair.addEventListener("pointermove", drag);
}

// A click on a heading sorts the table by that column, numbers as numbers; empty cells stay last.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.querySelectorAll("thead th")];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      const key = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const [p, q] = [Number(x), Number(y)];
        return sign * (Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q);
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
}
