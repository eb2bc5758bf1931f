"use strict";
/* What stands beside the picture: the colour bar and the facts of a map. */

/* The bar of what is drawn, with its ends and the map's raw range; without colours where nothing is drawn. */
voxplain.legend = function (viewer, drawn) {
  const bar = viewer.root.querySelector('[data-said="bar"]');
  const steps = Array.from({ length: 41 }, (_, n) => (drawn?.negative ? n / 20 - 1 : n / 40));
  const colour = (share) => {
    const nodes = share < 0 ? drawn.negative : drawn.positive;
    const [r, g, b] = nodes[Math.round(Math.abs(share) * (nodes.length - 1))];
    const hidden = Math.abs(share) * drawn.limit < drawn.threshold;
    return `rgb(${r} ${g} ${b} / ${hidden ? 0 : Math.abs(share) * voxplain.STRONGEST_ALPHA * drawn.opacity})`;
  };
  bar.style.background = drawn ? `linear-gradient(90deg, ${steps.map(colour).join(", ")})` : "none";
  const facts = viewer.shown.map?.facts;
  const limit = drawn ? voxplain.number(drawn.limit) : "";
  const unit = drawn ? facts.unit : "";
  viewer.say("low", drawn ? (drawn.negative ? `\u2212${limit}` : "0") : "");
  viewer.say("middle", drawn?.negative ? `0 ${unit}` : unit);
  viewer.say("high", limit);
  const raw = facts?.raw.map(voxplain.number).join(" to ");
  viewer.say("range", raw ? `Raw range ${raw} ${facts.unit}` : "");
  const words = drawn ? `Colours from ${drawn.negative ? `minus ${limit}` : "0"} to ${limit} ${unit}` : "No colours";
  viewer.root.querySelector('[data-said="bar-words"]').setAttribute("aria-label", words);
};

/* A map's facts as names and words, '' for what it has none of; `says` is the model's answer. */
voxplain.facts = function (facts, says) {
  const checks = facts.checks ? `${facts.failures.length} of ${facts.checks} failed` : "none recorded";
  const signs = facts.derivative ? "warm colours: a brighter voxel would raise the score; cold: lower it" : "warm colours speak for what was explained, cold ones against it";
  return [
    ["The model says", says],
    ["Explained", facts.target],
    ["Colours", facts.words],
    ["Quantity", facts.quantity + (facts.signed ? `; ${signs}` : "; it does not say for or against")],
    ["Channels", facts.how],
    ["Strongest", facts.peak_words],
    ["Checks", checks],
    ["Notes", facts.notes.join(" ")],
    ["Stored as", facts.step ? `8 or 16 bits in this page: values within \u00b1${voxplain.number(facts.step / 2)}` : ""],
  ];
};
