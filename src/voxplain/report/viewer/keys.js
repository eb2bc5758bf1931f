"use strict";
/* Keys: letters while the focus is anywhere in the viewer, arrows and pages while it is on the picture. */

/* NiiVue has keys of its own, which nobody documents to the reader: none of them may pass. */
voxplain.listenToKeys = function (viewer) {
  for (const kind of ["keydown", "keyup"]) {
    viewer.root.addEventListener(kind, (event) => voxplain.key(viewer, event, kind === "keydown"), true);
  }
};

voxplain.key = function (viewer, event, down) {
  const canvas = event.target === viewer.scene.canvas;
  if (canvas) event.stopPropagation();
  if (!down || event.ctrlKey || event.metaKey || event.altKey || !viewer.shown) return;
  const typing = event.target.matches("select, input[type=range]"); // these use arrows and letters themselves
  const act = (canvas && voxplain.STEPS[event.key]) || (!typing && voxplain.LETTERS[event.key]);
  if (!act) return;
  event.preventDefault();
  act(viewer);
};

voxplain.stepped = (way, count) => (viewer) => viewer.step(way, count);

voxplain.STEPS = {
  ArrowRight: voxplain.stepped("right", 1), ArrowLeft: voxplain.stepped("right", -1), ArrowUp: voxplain.stepped("up", 1),
  ArrowDown: voxplain.stepped("up", -1), PageUp: voxplain.stepped("on", 1), PageDown: voxplain.stepped("on", -1),
};

voxplain.flipped = (name) => (viewer) => {
  const control = viewer.control(name);
  control.checked = !control.checked;
  viewer.paint();
};

voxplain.moreOpaque = (step) => (viewer) => {
  const control = viewer.control("opacity");
  control.value = Number(control.value) + step;
  viewer.paint();
};

voxplain.LETTERS = {
  m: voxplain.flipped("map"), k: voxplain.flipped("mask"), l: voxplain.flipped("prediction"),
  "[": voxplain.moreOpaque(-0.1), "]": voxplain.moreOpaque(0.1), n: (viewer) => viewer.next(1), p: (viewer) => viewer.next(-1),
  s: (viewer) => viewer.strongest(), r: (viewer) => viewer.reset(),
};
