/**
 * The page's script, as text because it goes into the page as it is. It undoes `encode.ts`, draws the canvases, and
 * ties the slider to matrices, bars and curves. Without it the tables and curves are still there.
 */
export const CLIENT = `"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const all = (root, selector) => Array.from(root.querySelectorAll(selector));
  const unpack = async (text) => {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const percent = (share) =>
    share === 1 || share === 0 ? 100 * share + " %" : share > 0 && share < 0.001 ? "< 0.1 %" : Math.min(99.9, 100 * share).toFixed(1) + " %";
  const number = (x) => x === 0 ? "0" : Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5 ? x.toExponential(1) : String(Number(x.toPrecision(3)));

  // 256 colours along a gradient of the style sheet's variables.
  const ramp = (names) => {
    const canvas = document.createElement("canvas");
    canvas.width = 256;
    canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const gradient = context.createLinearGradient(0, 0, 256, 0);
    const style = getComputedStyle(document.documentElement);
    for (const [at, name] of names) gradient.addColorStop(at, style.getPropertyValue(name).trim());
    context.fillStyle = gradient;
    context.fillRect(0, 0, 256, 1);
    return new Uint32Array(context.getImageData(0, 0, 256, 1).data.buffer);
  };
  let heat, diverging;
  const paint = (canvas, width, height, pixels) => {
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  };

  const layers = await Promise.all(data.layers.map(async (layer, i) => {
    const bytes = await unpack(layer.bytes);
    const size = layer.g * layer.d * layer.d;
    for (let at = size; at < bytes.length; at++) bytes[at] += bytes[at - size];
    const kernels = layer.kernels && { shape: layer.kernels.shape, bytes: await unpack(layer.kernels.bytes) };
    return { ...layer, bytes, size, kernels, root: document.querySelector('[data-layer="' + i + '"]'), shown: 0 };
  }));

  // The test pattern: a letter F with soft stems for images, a falling ramp for lines.
  const pattern = (h, w) => {
    const values = new Float32Array(h * w);
    if (h === 1 || w === 1) {
      for (let i = 0; i < values.length; i++) values[i] = Math.max(0, 1 - i / Math.max(2, Math.ceil(values.length / 2)));
      return values;
    }
    const left = w > 4 ? 1 : 0;
    const middle = Math.floor((h - 1) / 2);
    for (let r = 0; r < h; r++) values[r * w + left] = 1;
    for (let c = left; c < w; c++) values[c] = 1;
    for (let c = left; c < Math.max(left + 2, w - 1); c++) values[middle * w + c] = 1;
    return values;
  };

  // A byte's value: a share, or, where the layer has a range, a number of either sign.
  const valueOf = ({ range }, byte) => range === undefined ? (byte / 255) ** 2 : range * (byte / 127.5 - 1);
  const drawMatrices = (layer) => {
    const { d, root, bytes, size, layout, range } = layer;
    const colours = range === undefined ? heat : diverging;
    const base = layer.shown * size;
    for (const canvas of all(root, "[data-learned]")) {
      const from = base + canvas.dataset.learned * d * d;
      paint(canvas, d, d, Uint32Array.from(bytes.subarray(from, from + d * d), (b) => colours[b]));
    }
    if (layout) {
      const f = pattern(layout[0], layout[1]);
      for (const canvas of all(root, "[data-probe]")) {
        const from = base + canvas.dataset.probe * d * d;
        const out = new Uint32Array(d);
        for (let n = 0; n < d; n++) {
          let sum = 0;
          for (let m = 0; m < d; m++) sum += valueOf(layer, bytes[from + n * d + m]) * f[m];
          out[n] = range === undefined ? heat[Math.round(255 * Math.min(1, sum))] : diverging[Math.round(127.5 * (1 + Math.max(-1, Math.min(1, sum))))];
        }
        paint(canvas, layout[1], layout[0], out);
      }
    }
    const last = layer.shown === layer.steps.length - 1;
    for (const card of all(root, ".card")) {
      const badge = card.querySelector("[data-verdict]");
      if (badge) {
        badge.dataset.verdict ||= badge.className + "|" + badge.textContent;
        // All rows right means that the nearest permutation is the planted one.
        const right = layer.agreement[layer.shown][card.dataset.element] === 1;
        [badge.className, badge.textContent] = last ? badge.dataset.verdict.split("|") : right ? ["badge good", "✓ found"] : ["badge", "not yet"];
      }
      for (const bar of all(card, "[data-bar]")) {
        const share = layer[bar.dataset.bar][layer.shown][card.dataset.element];
        if (share === null) { bar.hidden = true; continue; }
        bar.hidden = false;
        bar.querySelector("i").style.width = 100 * share + "%";
        bar.querySelector("output").textContent = percent(share);
      }
    }
  };

  const drawStill = (layer) => {
    const { d, root, planted, kernels, range } = layer;
    const colours = range === undefined ? heat : diverging;
    const one = range === undefined ? 255 : Math.round(127.5 * (1 + Math.min(1, 1 / range)));
    for (const canvas of all(root, "[data-planted]")) {
      const pixels = new Uint32Array(d * d).fill(colours[range === undefined ? 0 : 128]);
      planted[canvas.dataset.planted].forEach((m, n) => { pixels[n * d + m] = colours[one]; });
      paint(canvas, d, d, pixels);
    }
    const canvas = root.querySelector("[data-kernels]");
    if (!canvas) return;
    const [o, g, h, w] = kernels.shape;
    const width = g * (w + 1) - 1;
    const pixels = new Uint32Array(width * (o * (h + 1) - 1));
    for (let i = 0; i < kernels.bytes.length; i++) {
      const x = i % w, y = Math.floor(i / w) % h, e = Math.floor(i / (w * h)) % g, row = Math.floor(i / (w * h * g));
      pixels[(row * (h + 1) + y) * width + e * (w + 1) + x] = diverging[kernels.bytes[i]];
    }
    paint(canvas, width, o * (h + 1) - 1, pixels);
  };

  const drawAll = () => {
    heat = ramp([[0, "--heat0"], [0.3, "--heat1"], [0.65, "--heat2"], [1, "--heat3"]]);
    diverging = ramp([[0, "--neg"], [0.5, "--heat0"], [1, "--pos"]]);
    for (const layer of layers) { drawStill(layer); drawMatrices(layer); }
  };

  const panels = all(document, "[data-panel]").map((root) => ({ root, ...data.panels[root.dataset.panel] }));
  const showCursor = (step) => {
    for (const { root, domain, range, series, share } of panels) {
      const span = domain[1] - domain[0] || 1;
      const at = Math.min(1, Math.max(0, (step - domain[0]) / span));
      const box = root.querySelector("svg").viewBox.baseVal;
      const cursor = root.querySelector(".cursor");
      cursor.style.visibility = "visible";
      cursor.setAttribute("transform", "translate(" + (range[0] + at * (range[1] - range[0])) * box.width + " 0)");
      all(root, "output").forEach((output, i) => {
        let best = null;
        for (const point of series[i]) if (point[1] !== null && (best === null || point[0] <= step)) best = point;
        output.textContent = best === null ? "" : share ? percent(best[1]) : number(best[1]);
      });
    }
  };

  const steps = Array.from(new Set(layers.flatMap((layer) => layer.steps))).sort((a, b) => a - b);
  const player = document.querySelector(".player");
  const slider = player.querySelector("input");
  const button = player.querySelector("button");
  let current = steps.length ? steps[steps.length - 1] : Math.max(0, ...panels.map((panel) => panel.domain[1]));
  const show = (index) => {
    current = steps[index];
    slider.value = index;
    player.querySelector("output").textContent = "step " + current.toLocaleString("en-US");
    for (const layer of layers) {
      let last = 0;
      layer.steps.forEach((step, i) => { if (step <= current) last = i; });
      layer.shown = last;
      drawMatrices(layer);
    }
    showCursor(current);
  };

  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; player.classList.remove("playing"); button.ariaLabel = "Play training"; };
  button.addEventListener("click", () => {
    if (timer) return stop();
    let index = Number(slider.value) >= steps.length - 1 ? 0 : Number(slider.value);
    show(index);
    player.classList.add("playing");
    button.ariaLabel = "Pause";
    timer = setInterval(() => { show(++index); if (index >= steps.length - 1) stop(); }, Math.max(90, Math.min(400, 6000 / steps.length)));
  });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });

  drawAll();
  if (steps.length > 1) {
    slider.max = steps.length - 1;
    player.hidden = false;
    show(steps.length - 1);
  } else showCursor(current);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  for (const { root, domain, range } of panels) {
    const svg = root.querySelector("svg");
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width - range[0]) / (range[1] - range[0]);
      showCursor(domain[0] + Math.min(1, Math.max(0, at)) * (domain[1] - domain[0]));
    });
    svg.addEventListener("pointerleave", () => showCursor(current));
  }

  const tip = document.querySelector(".tip");
  for (const layer of layers) {
    for (const canvas of all(layer.root, "[data-learned]")) {
      canvas.addEventListener("pointermove", (event) => {
        const box = canvas.getBoundingClientRect();
        const clamp = (x) => Math.min(layer.d - 1, Math.max(0, Math.floor(x * layer.d)));
        const n = clamp((event.clientY - box.top) / box.height), m = clamp((event.clientX - box.left) / box.width);
        const byte = layer.bytes[layer.shown * layer.size + (canvas.dataset.learned * layer.d + n) * layer.d + m];
        tip.textContent = "output " + n + " ← input " + m + ": " + valueOf(layer, byte).toFixed(3);
        tip.hidden = false;
        tip.style.left = Math.min(innerWidth - tip.offsetWidth - 8, event.clientX + 14) + "px";
        tip.style.top = event.clientY - 34 + "px";
      });
      canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    }
  }
  document.documentElement.dataset.ready = "";
})();
`;
