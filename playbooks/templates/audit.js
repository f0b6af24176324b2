// The page says all without this: it adds a field that filters the last table.
const field = document.getElementById('filter');
const count = document.getElementById('filtered');
const rows = [...document.querySelectorAll('#modules tbody tr')].map((row) => [row, row.textContent.toLowerCase()]);
field.parentElement.hidden = false;
field.addEventListener('input', () => {
  const words = field.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const [row, text] of rows) {
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  count.textContent = `${shown} of ${rows.length} rows`;
});
