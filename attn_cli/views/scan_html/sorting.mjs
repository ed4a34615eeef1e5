const table = document.getElementById("ranking");
const body = table.tBodies[0];
const headers = [...table.tHead.rows[0].cells];
for (const [column, header] of headers.entries()) {
  const button = header.querySelector("button");
  if (!button) continue;
  button.addEventListener("click", () => {
    const now = header.getAttribute("aria-sort");
    const first = button.dataset.first === "up" ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = now === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((one, two) => {
      const [a, b] = [value(one), value(two)];
      return a === "" || b === "" ? (a === "") - (b === "") : sign * (a - b);
    });
    body.append(...rows);
    for (const each of headers) each.setAttribute("aria-sort", each === header ? order : "none");
  });
}
const open = () => {
  const found = document.getElementById(location.hash.slice(1));
  if (found) found.open = true;
};
addEventListener("hashchange", open);
open();
