"use strict";
/* Where volumes come from: elements of the page, else the local server that `voxplain view` starts. */
voxplain.source = {
  inside: (name) => document.getElementById(name),
  served: /^https?:$/.test(location.protocol),

  address(path) {
    return new URL((this.inside("volumes-index") ? "../../" : "") + path, location.href);
  },

  async index() {
    const element = this.inside("volumes-index");
    return element ? JSON.parse(element.textContent) : (await fetch(this.address("volumes/index.json"))).json();
  },

  async volume(key) {
    const element = this.inside(`volume-${key}`);
    if (element) return this.embedded(JSON.parse(element.textContent));
    if (!this.served) throw new Error("This volume is too large for the page. See it with: voxplain view and the run folder.");
    const facts = await (await fetch(this.address(`volumes/${key}.json`))).json();
    if (facts.problem) throw new Error(facts.problem);
    const file = await fetch(this.address(`volumes/${key}.nii`));
    if (!file.ok) throw new Error("the local server did not answer; is voxplain view still running?");
    return { facts, ...voxplain.parsed(await file.arrayBuffer()) };
  },

  async embedded({ base64, ...facts }) {
    if (facts.problem) throw new Error(facts.problem);
    return { facts, ...voxplain.parsed(await this.unpacked(base64).arrayBuffer()) };
  },

  unpacked(base64) {
    const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
  },

  /* The drawing library, unpacked only when it is wanted. */
  async library() {
    if (typeof niivue !== "undefined") return;
    const script = document.createElement("script");
    script.textContent = await this.unpacked(this.inside("volumes-niivue").textContent).text();
    document.head.append(script);
    if (typeof niivue === "undefined") throw new Error("this browser did not let the page run its own viewer");
  },
};
