"use strict";
/* Numbers, places and lists in words. Names from the run reach the page as text only. */
voxplain.number = function (value) {
  if (value === null || !Number.isFinite(value)) return "not a number";
  const size = Math.abs(value);
  const text = value === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return text.replaceAll("-", "\u2212");
};

voxplain.fill = function (select, choices, value) {
  select.replaceChildren(...choices.map(([own, words]) => new Option(words, own)));
  if (value !== undefined) select.value = value;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
  select.disabled = choices.length < 2;
};

voxplain.row = function (name, words) {
  const row = document.createElement("div");
  for (const [tag, text] of [["dt", name], ["dd", words]]) row.append(Object.assign(document.createElement(tag), { textContent: text }));
  return row;
};

/* The voxel's centre in words. */
voxplain.place = function (voxel, facts) {
  const mm = voxplain.carried(facts.to_world, voxel);
  const own = voxel.map((place, axis) => place * facts.blocks[axis]);
  if (!facts.oriented) return facts.shape[2] === 1 ? `column ${own[0]}, row ${own[1]}` : `voxel (${own.join(", ")})`;
  const letters = ["RL", "AP", "SI"].map((pair, axis) => pair[mm[axis] >= 0 ? 0 : 1]);
  return `${mm.map((x, axis) => `${Math.abs(x).toFixed(1)} mm ${letters[axis]}`).join(", ")} (voxel ${own.join(", ")})`;
};

/* A value under the crosshair with its unit; stored in few bits it is near, and beyond the kept limits only a bound. */
voxplain.reading = function (volume, voxel) {
  const { facts } = volume;
  const value = voxplain.value(volume, voxel);
  const cut = facts.cut && [0, 1].find((end) => Math.abs(value - facts.cut[end]) < facts.step / 2 && facts.cut[end] !== facts.raw[end]);
  const about = cut === 0 ? "at most " : cut === 1 ? "at least " : facts.step && value !== 0 ? "about " : "";
  return `${about}${voxplain.number(value)} ${facts.unit}`.trim();
};

/* A label by its name; a given mask names none, and 0 is outside of it. */
voxplain.label = function (mask, voxel) {
  const label = voxplain.value(mask, voxel);
  if (mask.facts.names.length) return mask.facts.names[label] ?? `label ${label}`;
  return label === 0 ? "outside" : mask.facts.labels.length > 1 ? `inside, label ${label}` : "inside";
};
