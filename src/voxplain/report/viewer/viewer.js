"use strict";
/* The viewer's controls: what is chosen, where it comes from, and what is said about it. */
voxplain.MASKS = { mask: { colour: "#ffffff" }, prediction: { colour: "#6fe9ff", dashed: true } };
voxplain.PLANES = [["planes", "three and 3D"], ["axial", "axial"], ["coronal", "coronal"], ["sagittal", "sagittal"], ["3d", "3D"]];

voxplain.Viewer = class {
  constructor(root) {
    this.root = root;
    this.volumes = new Map(); // the last few by key
    this.turn = 0; // counts choices: what was asked for before the last one is not shown any more
    this.mm = null;
  }

  control(name) { return this.root.querySelector(`[data-control="${name}"]`); }

  say(name, text) {
    const element = this.root.querySelector(`[data-said="${name}"]`);
    element.textContent = text;
    if (element.tagName === "P" && name !== "spoken") element.hidden = !text;
  }

  trouble(error) {
    const element = this.root.querySelector(".viewer-trouble");
    element.textContent = error ? error.message : "";
    element.hidden = !error;
  }

  /* Begin, once: read what there is, start the drawing, show the first map. */
  start() {
    this.started ??= this.boot().catch((error) => this.trouble(error)).finally(() => { this.root.dataset.state = "ready"; });
    return this.started;
  }

  async boot() {
    this.index = await voxplain.source.index();
    await voxplain.source.library();
    const [canvas, lines] = this.root.querySelectorAll("canvas");
    this.scene = new voxplain.Scene(canvas, lines, (mm) => this.moved(mm));
    await this.scene.attach();
    this.root.querySelector(".viewer-waiting").hidden = true;
    this.listen();
    this.defaults();
    voxplain.fill(this.control("case"), this.index.cases.map((one, n) => [n, one.label ? `${one.name} (${one.label})` : one.name]));
    await this.choose(this.index.cases[0]?.maps[0]);
  }

  defaults() {
    const values = { opacity: 1, threshold: 0, sides: "radiological" };
    for (const [name, value] of Object.entries(values)) this.control(name).value = value;
    for (const name of ["map", ...Object.keys(voxplain.MASKS)]) this.control(name).checked = true;
    this.palettes = { true: "diverging", false: "sequential" };
    this.wantedPlanes = "planes";
  }

  get case() { return this.index.cases[Number(this.control("case").value)]; }

  /* Offer what the case holds, with `wanted` (a map of its list) chosen, or the nearest to it. */
  offer(wanted = {}) {
    let left = this.case.maps;
    const names = { target: (map) => [map.target, map.model].filter(Boolean).join(" \u00b7 "), method: (map) => map.method, layer: (map) => map.layer };
    for (const [name, word] of Object.entries(names)) {
      const choices = [...new Set(left.map(word))];
      const value = choices.includes(word(wanted)) ? word(wanted) : choices[0];
      voxplain.fill(this.control(name), choices.map((choice) => [choice, choice || "the method's own"]), value);
      this.control(name).closest("label").hidden = name === "layer" && choices.every((choice) => !choice);
      left = left.filter((map) => word(map) === value);
    }
    this.map = left[0];
    const channels = this.case.images.map((one, n) => [n, one.channel]);
    voxplain.fill(this.control("channel"), channels, this.control("channel").value);
    this.control("channel").closest("label").hidden = channels.length < 2;
    for (const name of Object.keys(voxplain.MASKS)) this.control(name).closest("label").hidden = !this.case[name];
    this.root.querySelector('[data-said="prediction"]').closest("div").hidden = !this.case.prediction;
  }

  /* Show a map of the case with its image; without one, the image alone. */
  async choose(wanted) {
    this.offer(wanted);
    await this.show();
  }

  async show() {
    const turn = ++this.turn;
    this.root.dataset.state = "loading";
    try {
      await this.load(turn);
      this.trouble(null);
    } catch (error) {
      if (turn === this.turn) this.trouble(error);
    }
    if (turn === this.turn) this.root.dataset.state = "ready";
  }

  async load(turn) {
    const key = this.case.images[Number(this.control("channel").value) || 0]?.key;
    if (!key) throw new Error(this.case.problem);
    const missing = this.map && !this.map.key ? this.map.problem : "";
    const image = await this.volume(key);
    const keys = [this.map?.key, this.case.mask, this.case.prediction];
    const found = await Promise.all(keys.map((one) => this.volume(one).catch((error) => ({ problem: error.message }))));
    if (turn !== this.turn) return;
    const another = this.shown?.image !== image;
    const [map, mask, prediction] = found.map((one) => (one?.facts ? one : null));
    Object.assign(this, { shown: { image, mask, prediction, map } });
    if (another) await this.place(image);
    this.problem = missing || found[0]?.problem || "";
    this.without = Object.keys(voxplain.MASKS).map((name, n) => found[n + 1]?.problem && `No ${name}: ${found[n + 1].problem}`);
    this.describe();
    this.paint();
    if (!this.mm || this.shownCase !== this.case) this.strongest();
    this.shownCase = this.case;
    if (this.mm) this.moved(this.mm);
  }

  async volume(key) {
    if (!key) return null;
    if (!this.volumes.has(key)) this.volumes.set(key, voxplain.source.volume(key));
    if (this.volumes.size > 8) this.volumes.delete(this.volumes.keys().next().value);
    return this.volumes.get(key).catch((error) => { this.volumes.delete(key); throw error; });
  }

  async place(image) {
    const flat = Boolean(image.facts.plane);
    await this.scene.image(image);
    const own = [[image.facts.plane, image.facts.oriented ? image.facts.plane : "the picture"]];
    voxplain.fill(this.control("planes"), flat ? own : voxplain.PLANES, this.wantedPlanes);
    this.control("sides").disabled = !image.facts.oriented;
    this.scene.look(this.control("planes").value);
    this.sides();
  }

  sides() {
    const known = this.shown.image.facts.oriented;
    const radiological = !known || this.control("sides").value === "radiological";
    this.scene.radiological(radiological);
    const where = radiological ? "left" : "right";
    this.say("sides", known ? `The patient's right is on the picture's ${where}.` : "The file does not say which side is the patient's right; shown as stored.");
  }

  /* How the map is drawn: the limits follow from its values, the threshold is a share of its largest. */
  appearance() {
    const { facts } = this.shown.map;
    const palette = this.index.palettes[this.control("palette").value];
    const largest = facts.signed ? Math.max(...facts.raw.map(Math.abs)) : facts.raw[1];
    const threshold = Number(this.control("threshold").value) * largest;
    return { ...palette, limit: facts.limit, threshold, opacity: Number(this.control("opacity").value), volume: this.shown.map };
  }

  paint() {
    const { map } = this.shown;
    const drawn = map && !map.facts.blank ? this.appearance() : null;
    const rims = Object.entries(voxplain.MASKS).filter(([name]) => this.shown[name] && this.control(name).checked);
    this.scene.repaint(this.control("map").checked ? drawn : null, rims.map(([name, style]) => ({ mask: this.shown[name], style })));
    this.say("opacity", `${Math.round(100 * voxplain.STRONGEST_ALPHA * Number(this.control("opacity").value))} % at the limit`);
    const share = Math.round(100 * Number(this.control("threshold").value));
    this.say("threshold", share && drawn ? `${share} % of the largest (${voxplain.number(drawn.threshold)})` : "nothing hidden");
    for (const name of ["opacity", "threshold"]) this.control(name).setAttribute("aria-valuetext", this.root.querySelector(`[data-said="${name}"]`).textContent);
    voxplain.legend(this, drawn);
  }

  /* What stands beside the picture: failed checks, the raw range, what the numbers mean. */
  describe() {
    const facts = this.shown.map?.facts;
    const failures = facts?.failures ?? [];
    this.say("failed", this.problem ? `No map. ${this.problem}` : failures.length ? `Do not rely on this map. ${failures.join("; ")}` : "");
    const lost = facts?.lost ? `${facts.lost} values are no numbers and shown as 0.` : "";
    const rough = (this.shown.image.facts.blocks ?? []).some((block) => block > 1) ? "The image is too large for a graphics card: several voxels are shown as one." : "";
    const blank = facts?.blank ? `Nothing is laid over the image: ${facts.blank}.` : "";
    const doubt = facts?.doubt ? `This map lies ${facts.doubt}.` : "";
    this.say("notice", [blank, doubt, lost, rough, ...this.without].filter(Boolean).join(" "));
    const rows = facts ? voxplain.facts(facts, this.case.says) : [];
    const list = this.root.querySelector('[data-said="facts"]');
    list.replaceChildren(...rows.filter(([, words]) => words).map(([name, words]) => voxplain.row(name, words)));
    this.offerPalettes(facts);
    this.scene.canvas.setAttribute("aria-label", facts ? `${facts.method} for ${facts.target}, laid over the image of ${this.case.name}` : `Image of ${this.case.name}`);
  }

  offerPalettes(facts) {
    const fitting = Object.entries(this.index.palettes).filter(([, one]) => facts && one.signed === facts.signed);
    voxplain.fill(this.control("palette"), fitting.map(([name, one]) => [name, `${name.replaceAll("_", " ")} (${one.words})`]), this.palettes[facts?.signed]);
  }

  strongest() {
    const peak = this.shown.map?.facts.peak;
    const middle = this.shown.image.facts.centre;
    this.scene.goTo(peak ?? middle);
  }

  /* The crosshair is somewhere else: say where, and what lies there. */
  moved(mm) {
    this.mm = mm;
    if (!this.shown) return;
    const { image, map, mask, prediction } = this.shown;
    const voxel = voxplain.carried(image.facts.to_voxels, mm).map(Math.round);
    if (voxel.some((place, axis) => place < 0 || place >= image.shape[axis])) return;
    this.voxel = voxel;
    const said = {
      place: voxplain.place(voxel, image.facts),
      image: voxplain.reading(image, voxel),
      map: map ? voxplain.reading(map, voxel) : "none",
      mask: mask ? voxplain.label(mask, voxel) : this.case.mask ? "cannot be shown" : "none was given",
      prediction: prediction ? voxplain.label(prediction, voxel) : this.case.prediction && "cannot be shown",
    };
    for (const [name, words] of Object.entries(said)) this.say(name, words);
    clearTimeout(this.speaking);
    const predicted = said.prediction && `, prediction ${said.prediction}`;
    this.speaking = setTimeout(() => this.say("spoken", `Map ${said.map}, image ${said.image}, mask ${said.mask}${predicted}, ${said.place}`), 700);
  }

  /* One voxel to the right, up, or on to the next slice, as one sees it. */
  step(way, count) {
    const { facts, shape } = this.shown.image;
    const [world, sign] = this.scene.directions()[way];
    const axis = facts.axes.findIndex((one) => one[0] === world);
    const voxel = [...this.voxel];
    voxel[axis] = Math.min(shape[axis] - 1, Math.max(0, voxel[axis] + count * sign * facts.axes[axis][1]));
    this.scene.goTo(voxplain.carried(facts.to_world, voxel));
  }

  /* A map by its key, for the buttons elsewhere in the page. */
  async showKey(key) {
    this.root.scrollIntoView({ block: "start" });
    await this.start();
    const place = this.index.cases.findIndex((one) => one.maps.some((map) => map.key === key));
    if (place < 0) return;
    this.control("case").value = place;
    await this.choose(this.case.maps.find((map) => map.key === key));
    this.scene.canvas.focus({ preventScroll: true });
  }

  /* The next or previous map of the case, whatever its target, method and layer. */
  async next(step) {
    const maps = this.case.maps;
    if (maps.length) await this.choose(maps[(maps.indexOf(this.map) + step + maps.length) % maps.length]);
  }

  async reset() {
    this.defaults();
    this.scene.reset();
    await this.place(this.shown.image);
    this.describe();
    this.paint();
    this.strongest();
  }

  listen() {
    const on = (name, act) => this.control(name).addEventListener(this.control(name).tagName === "BUTTON" ? "click" : "input", act);
    on("case", () => this.choose(this.map));
    for (const name of ["target", "method", "layer"]) {
      on(name, () => {
        const [target, method, layer] = ["target", "method", "layer"].map((one) => this.control(one).value);
        const fits = (map) => [map.target, map.model].filter(Boolean).join(" \u00b7 ") === target;
        const near = (map) => 2 * (map.method === method) + (map.layer === layer);
        return this.choose(this.case.maps.filter(fits).sort((a, b) => near(b) - near(a))[0]);
      });
    }
    on("channel", () => this.show());
    for (const name of ["map", ...Object.keys(voxplain.MASKS), "opacity", "threshold"]) on(name, () => this.paint());
    on("palette", () => { this.palettes[this.shown.map.facts.signed] = this.control("palette").value; this.paint(); });
    on("planes", () => { this.wantedPlanes = this.control("planes").value; this.scene.look(this.wantedPlanes); });
    on("sides", () => this.sides());
    on("strongest", () => this.strongest());
    on("reset", () => this.reset());
    voxplain.listenToKeys(this);
  }
};

voxplain.begin = function () {
  const root = document.querySelector("[data-viewer]");
  const viewer = new voxplain.Viewer(root);
  voxplain.viewer = viewer;
  const seen = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) { seen.disconnect(); viewer.start(); }
  });
  seen.observe(root);
  for (const place of document.querySelectorAll("[data-view]")) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Look at it in the viewer" });
    button.addEventListener("click", () => viewer.showKey(place.dataset.view));
    place.replaceChildren(button);
  }
};

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", voxplain.begin);
else voxplain.begin();
