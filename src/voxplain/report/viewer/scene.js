"use strict";
/* What is drawn: an image and, painted over it, a map with the rims of masks. NiiVue cuts and renders; the colours and
   the numbers are our own, so that the viewer shows what the figures show. */
const voxplain = {};

voxplain.STRONGEST_ALPHA = 0.85; // opacity at the colour limit; below it, opacity falls in proportion

/* Numbers of a NIfTI-1 file that Voxplain wrote: header, stored numbers, and what one step of them means. */
voxplain.parsed = function (buffer) {
  const head = new DataView(buffer, 0, 352);
  const kinds = { 2: Uint8Array, 4: Int16Array, 16: Float32Array, 256: Int8Array, 512: Uint16Array };
  const shape = [42, 44, 46].map((place) => head.getInt16(place, true));
  const count = shape[0] * shape[1] * shape[2];
  const stored = new kinds[head.getInt16(70, true)](buffer, 352, count);
  return { buffer, shape, count, stored, step: head.getFloat32(112, true), offset: head.getFloat32(116, true) };
};

voxplain.value = (volume, voxel) =>
  volume.stored[voxel[0] + volume.shape[0] * (voxel[1] + volume.shape[1] * voxel[2])] * volume.step + volume.offset;

/* The same header over four bytes a voxel: red, green, blue, opacity. */
voxplain.paintFile = function (volume) {
  const buffer = new ArrayBuffer(352 + 4 * volume.count);
  new Uint8Array(buffer).set(new Uint8Array(volume.buffer, 0, 352));
  const head = new DataView(buffer);
  head.setInt16(70, 2304, true); // RGBA
  head.setInt16(72, 32, true);
  head.setFloat32(112, 1, true);
  head.setFloat32(116, 0, true);
  return buffer;
};

/* 256 colours with their opacity from 0 to the colour limit. */
voxplain.lookup = function (nodes) {
  const table = new Uint8ClampedArray(256 * 4);
  for (let n = 0; n < 256; n++) {
    const place = (n / 255) * (nodes.length - 1);
    const low = Math.min(Math.floor(place), nodes.length - 2);
    for (let c = 0; c < 3; c++) table[4 * n + c] = nodes[low][c] + (nodes[low + 1][c] - nodes[low][c]) * (place - low);
    table[4 * n + 3] = (n / 255) * 255 * voxplain.STRONGEST_ALPHA;
  }
  return table;
};

/* Colours of a map: transparent below the threshold, as opaque as they are strong, full at the limit. */
voxplain.paintMap = function (bytes, map, look) {
  const { stored, step, offset, count } = map;
  const warm = voxplain.lookup(look.positive);
  const cold = look.negative ? voxplain.lookup(look.negative) : null;
  for (let v = 0; v < count; v++) {
    const value = stored[v] * step + offset;
    const strength = Math.abs(value);
    if (value === 0 || strength < look.threshold || (value < 0 && !cold)) continue;
    const colours = value > 0 ? warm : cold;
    const n = 4 * Math.min(255, Math.round((255 * strength) / look.limit));
    for (let c = 0; c < 3; c++) bytes[4 * v + c] = colours[n + c];
    bytes[4 * v + 3] = Math.min(255, colours[n + 3] * look.opacity);
  }
};

/* The edges of a slice along which a label ends, as (column, row) pairs of voxel corners: from, to. */
voxplain.rim = function (mask, [across, down, cut], slice) {
  const { shape, stored } = mask;
  const strides = [1, shape[0], shape[0] * shape[1]];
  const label = (a, b) => (a < 0 || b < 0 || a >= shape[across] || b >= shape[down] ? 0 : stored[a * strides[across] + b * strides[down] + slice * strides[cut]]);
  const edges = [];
  for (let b = -1; b < shape[down]; b++) {
    for (let a = -1; a < shape[across]; a++) {
      const own = label(a, b);
      if (own !== label(a + 1, b)) edges.push([a + 0.5, b - 0.5, a + 0.5, b + 0.5]);
      if (own !== label(a, b + 1)) edges.push([a - 0.5, b + 0.5, a + 0.5, b + 0.5]);
    }
  }
  return edges;
};

/* A point through the first three rows of a 4x4 matrix. */
voxplain.carried = (rows, point) => rows.map((row) => row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3]);

voxplain.Scene = class {
  constructor(canvas, lines, moved) {
    this.view = new niivue.Niivue({
      isNearestInterpolation: true, // a voxel is seen as large as it is
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      isForceMouseClickToVoxelCenters: true,
      multiplanarShowRender: 1,
      showAllOrientationMarkers: true,
      dragMode: 3, // the right button pans and the wheel steps through slices
      dragAndDropEnabled: false,
      crosshairColor: [0.35, 0.9, 0.45, 0.8],
      crosshairWidth: 0.25,
      crosshairWidthUnit: "percent",
      crosshairGap: 6,
      fontColor: [0.9, 0.9, 0.9, 1],
      logLevel: "error",
      loadingText: "",
    });
    this.view.onLocationChange = (place) => moved(Array.from(place.mm).slice(0, 3));
    const draw = this.view.drawScene.bind(this.view);
    this.view.drawScene = () => {
      draw();
      this.outline();
    };
    this.canvas = canvas;
    this.rims = [];
    // Few lines are drawn as fast without a graphics card; with one, Chromium has shown lines that were cleared before.
    this.lines = lines.getContext("2d", { willReadFrequently: true });
  }

  /* A colour; or stripes from corner to corner: a line of short pieces, one a voxel, looks dashed wherever they begin. */
  pen(colour, dashed) {
    if (!dashed) return colour;
    const tile = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const pen = tile.getContext("2d");
    pen.fillStyle = colour;
    for (let place = 0; place < 64; place++) if (((place % 8) + (place >> 3)) % 8 < 5) pen.fillRect(place % 8, place >> 3, 1, 1);
    return this.lines.createPattern(tile, "repeat");
  }

  async attach() {
    await this.view.attachToCanvas(this.canvas).catch(() => {
      throw new Error("This browser cannot draw volumes: WebGL 2 is missing or switched off.");
    });
  }

  /* Another image: grey values as the window says, and an empty layer of paint over it. */
  async image(volume) {
    const { facts } = volume;
    const grey = await niivue.NVImage.new(volume.buffer.slice(0), "image.nii", "gray");
    const span = facts.high - facts.low; // brought to 0..1, as NiiVue takes ranges below 0.00001 for none
    grey.hdr.scl_slope = volume.step / span;
    grey.hdr.scl_inter = (volume.offset - facts.low) / span;
    this.paint = await niivue.NVImage.new(voxplain.paintFile(volume), "paint.nii");
    this.toVoxels = facts.to_voxels;
    this.rims = [];
    Object.assign(grey, { cal_min: 0, cal_max: 1 });
    this.view.volumes = [];
    this.view.opts.isOrientationTextVisible = facts.oriented;
    this.grey = grey; // goes to the graphics card together with the paint: large volumes take their time
  }

  /* `look` tells a map and how it looks, null for none; `rims` the masks whose rims are drawn, and their colours. */
  repaint(look, rims) {
    this.paint.img.fill(0);
    if (look) voxplain.paintMap(this.paint.img, look.volume, look);
    this.rims = rims;
    if (this.view.volumes.length) this.view.updateGLVolume();
    else {
      this.view.volumes = [this.grey];
      this.view.addVolume(this.paint);
    }
  }

  /* Lines where a mask ends, over the slices that have just been drawn: sharp at every zoom, and nothing is covered. */
  outline() {
    const { canvas } = this.lines;
    const { width, height } = this.canvas;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.lines.clearRect(0, 0, width, height);
    for (const rim of this.rims) {
      this.view.screenSlices.forEach((tile, n) => tile.axCorSag < 3 && this.outlineTile(n, tile.leftTopWidthHeight, rim));
    }
  }

  outlineTile(n, [left, top, width, height], { mask, style }) {
    const place = (x, y) => voxplain.carried(this.toVoxels, this.view.frac2mm(this.view.screenXY2TextureFrac(x, y, n, false), 0, true));
    const inside = [left + width / 4, top + height / 4]; // NiiVue takes a corner of a tile for outside of it at some sizes
    const at = place(...inside);
    const right = place(inside[0] + width / 2, inside[1]).map((end, axis) => (end - at[axis]) / (width / 2)); // voxels in one pixel
    const down = place(inside[0], inside[1] + height / 2).map((end, axis) => (end - at[axis]) / (height / 2));
    const most = (steps) => steps.map(Math.abs).indexOf(Math.max(...steps.map(Math.abs)));
    const axes = [most(right), most(down)];
    const cut = 3 - axes[0] - axes[1];
    const [x, y] = [right, down].map((steps, n) => (voxel) => inside[n] + (voxel - at[axes[n]]) / steps[axes[n]]);
    const lines = new Path2D();
    for (const [a0, b0, a1, b1] of voxplain.rim(mask, [...axes, cut], Math.round(at[cut]))) {
      lines.moveTo(x(a0), y(b0));
      lines.lineTo(x(a1), y(b1));
    }
    this.stroke(lines, [left, top, width, height], style);
  }

  stroke(lines, tile, style) {
    const clip = new Path2D();
    clip.rect(...tile);
    const scale = this.canvas.width / (this.canvas.clientWidth || this.canvas.width);
    this.lines.save();
    this.lines.clip(clip);
    for (const [colour, width] of [["rgb(0 0 0 / 0.55)", 3], [style.colour, 1.4]]) {
      Object.assign(this.lines, { strokeStyle: this.pen(colour, style.dashed), lineWidth: width * scale, lineCap: "square" });
      this.lines.stroke(lines);
    }
    this.lines.restore();
  }

  /* Which planes: 'planes' for three of them and the rendering, one by name, or '3d'. */
  look(planes) {
    this.planes = planes;
    this.view.setSliceType({ axial: 0, coronal: 1, sagittal: 2, planes: 3, "3d": 4 }[planes]);
  }

  radiological(yes) {
    this.view.opts.isRadiologicalConvention = yes;
    this.view.drawScene();
  }

  goTo(mm) {
    this.view.scene.crosshairPos = this.view.mm2frac(mm, 0, true);
    this.view.createOnLocationChange();
    this.view.drawScene();
  }

  /* Which way along the world's axes one sees as right, up and on, in the plane that is shown, else in the axial one. */
  directions() {
    const side = this.view.opts.isRadiologicalConvention ? -1 : 1;
    const axial = { right: [0, side], up: [1, 1], on: [2, 1] };
    return { coronal: { right: [0, side], up: [2, 1], on: [1, 1] }, sagittal: { right: [1, -1], up: [2, 1], on: [0, 1] } }[this.planes] || axial;
  }

  reset() {
    this.view.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.view.setScale(1);
    this.view.setRenderAzimuthElevation(110, 10);
  }
};
