import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";
import { inflateSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { dihedralGroup, type Permutation, type PermutationSet, permutationMatrices, permute, rotationGroup } from "../src/data/permutations.ts";
import { createRandom } from "../src/data/random.ts";
import { ArgumentError, FileError } from "../src/errors.ts";
import { shiftTwist } from "../src/nn/group.ts";
import { relationText } from "../src/report/analysis.ts";
import { CLIENT } from "../src/report/client.ts";
import { encodeKernels, encodeSnapshots, thin } from "../src/report/encode.ts";
import { cycleType, number, percent } from "../src/report/format.ts";
import { html, jsonScript } from "../src/report/html.ts";
import { renderReport, writeReport } from "../src/report/page.ts";
import { writePictures } from "../src/report/svg.ts";
import type { DiscoverReport, KernelImages, LayerReport, Snapshot } from "../src/report/types.ts";
import { closure } from "../src/symmetry/closure.ts";
import { fitCoefficients } from "../src/symmetry/coefficients.ts";
import { compareElements } from "../src/symmetry/elements.ts";
import { identifyGroup } from "../src/symmetry/identify.ts";
import { layerConsistency } from "../src/symmetry/layers.ts";
import { matchGroup } from "../src/symmetry/relabelling.ts";
import { temporaryFolder } from "./support/folder.ts";

/** A stack that goes from near-uniform to sharp: rows and columns of exp(noise + t·P), normalised in turn. */
const sharpening = (group: PermutationSet, d: number, count: number, last = 14): Snapshot[] => {
  const target = permutationMatrices(group.elements);
  const random = createRandom(3);
  const noise = target.map(() => random.uniform());
  return Array.from({ length: count }, (_, s) => {
    const t = count === 1 ? last : last * (s / (count - 1)) ** 1.5;
    const matrices = target.map((value, i) => (i < d * d ? value : Math.exp(t * value + noise[i])));
    for (let e = 1; e < group.elements.length; e++) {
      for (let pass = 0; pass < 20; pass++) {
        for (const [step, stride] of [
          [1, d],
          [d, 1],
        ]) {
          for (let line = 0; line < d; line++) {
            let sum = 0;
            for (let i = 0; i < d; i++) sum += matrices[e * d * d + line * stride + i * step];
            for (let i = 0; i < d; i++) matrices[e * d * d + line * stride + i * step] /= sum;
          }
        }
      }
    }
    return { step: 100 * s, matrices };
  });
};

const layerOf = (group: PermutationSet, d: number, snapshots: Snapshot[], more: Partial<LayerReport> = {}): LayerReport => {
  const { matrices } = snapshots[snapshots.length - 1];
  return {
    name: "lifting layer",
    d,
    snapshots,
    planted: group,
    result: compareElements(matrices, d, group.elements),
    closure: closure(matrices, d),
    ...more,
  };
};

const kernelsOf = (group: PermutationSet, k: number, count: number): KernelImages => {
  const random = createRandom(5);
  const values = new Float32Array(count * group.elements.length * k * k);
  for (let o = 0; o < count; o++) {
    const angle = 2 * Math.PI * random.uniform();
    const kernel = Float32Array.from({ length: k * k }, (_, n) => {
      const [y, x] = [Math.floor(n / k) - (k - 1) / 2, (n % k) - (k - 1) / 2];
      return Math.sin(1.6 * (x * Math.cos(angle) + y * Math.sin(angle)) + o) * Math.exp(-(x * x + y * y) / 5) + 0.1 * random.normal();
    });
    for (const [g, element] of group.elements.entries()) values.set(permute(kernel, element), (o * group.elements.length + g) * k * k);
  }
  return { values, shape: [count, group.elements.length, k, k] };
};

const sample = (layers: readonly LayerReport[]): DiscoverReport => {
  const steps = Array.from({ length: 2400 }, (_, i) => i);
  const random = createRandom(1);
  const decay = (floor: number, speed: number): number[] =>
    steps.map((step) => (floor + 40 * Math.exp(-step / speed)) * Math.exp(0.15 * random.normal()));
  return {
    title: "birkhoff discover",
    command: "birkhoff discover --task rot90 --seed 7",
    device: "native: AVX2+FMA, 2 threads",
    date: "2026-11-23 14:40",
    settings: {
      steps: 2400,
      "batch size": 64,
      "learning rate (kernels)": 0.01,
      "learning rate (matrices)": 0.03,
      "warm-up steps": 300,
      seed: 7,
      identity: true,
    },
    task: {
      name: "rot90",
      description: "50 prototypes of 5 × 5, each turned by a multiple of 90°; the network is told neither the turn nor the group.",
    },
    curves: [
      { panel: "Loss", name: "training", steps, values: decay(0.004, 220), scale: "log" },
      { panel: "Loss", name: "norm regulariser", steps, values: decay(0.08, 500), scale: "log" },
      {
        panel: "Held-out accuracy",
        name: "this network",
        steps: [0, 400, 800, 1200, 1600, 2000, 2399],
        values: [0.01, 0.21, 0.55, 0.9, 0.97, 0.991, 0.994],
        scale: "share",
      },
      {
        panel: "Held-out accuracy",
        name: "plain network",
        steps: [0, 400, 800, 1200, 1600, 2000, 2399],
        values: [0.01, 0.25, 0.45, 0.62, 0.7, 0.74, 0.75],
        scale: "share",
      },
    ],
    layers,
    comparison: [
      { name: "learned matrices", parameters: 23125, heldOutAccuracy: 0.994, equivarianceError: 2.1e-3, own: true },
      { name: "plain network of the same size", parameters: 23090, heldOutAccuracy: 0.752, equivarianceError: 0.83 },
      { name: "fixed group C4", parameters: 1250, heldOutAccuracy: 1, equivarianceError: 3.2e-7 },
    ],
    notes: ["Kernels are trained alone for the first 300 steps; until then the matrices stand still."],
  };
};

const group = rotationGroup(5);
const lifting = (): LayerReport =>
  layerOf(group, 25, sharpening(group, 25, 25), {
    layout: [5, 5],
    kernels: kernelsOf(group, 5, 8),
    description: "Four 25 × 25 matrices; the first is the identity.",
  });

/** What a reader sees: the page without its style, data and script. */
const visible = (page: string): string => page.slice(page.indexOf("<main"), page.indexOf("</main"));

/** The data that the page's script reads. */
const embedded = (
  page: string,
): { layers: { d: number; g: number; steps: number[]; bytes: string; agreement: number[][]; certainty: number[][] }[]; panels: object } => {
  const [, json] = /<script type="application\/json" id="report-data">(.*?)<\/script>/s.exec(page) ?? [];
  return JSON.parse(json);
};

let folder = "";
beforeEach(() => {
  folder = temporaryFolder();
});

describe("report", () => {
  it("says at a glance what was found", () => {
    const page = visible(renderReport(sample([lifting()])));
    expect(page).toContain("C4 recovered");
    expect(page).toContain("All 3 learned matrices became the planted permutations: 90°, 180°, 270°.");
    expect(page.match(/✓ found/g)?.length).toBe(3);
    expect(page).not.toContain("✗");
    expect(page).toContain("they form a group");
    expect(page).toContain("99.4 %");
    expect(page).toContain("23,125");
    expect(page).toContain("birkhoff discover --task rot90 --seed 7");
  });

  it("says it as plainly when it was not, or when nothing was planted", () => {
    const start = visible(renderReport(sample([layerOf(group, 25, sharpening(group, 25, 1, 0))])));
    expect(start).toContain("C4 not recovered");
    expect(start).toContain("0 of 3 learned matrices became the planted permutations.");
    expect(start.match(/✗ not found/g)?.length).toBe(3);
    expect(start).toContain("not closed under multiplication");
    const snapshots = sharpening(group, 25, 2);
    const result = compareElements(snapshots[1].matrices, 25);
    const { planted: _, ...open } = layerOf(group, 25, snapshots, { result });
    const page = renderReport(sample([open]));
    expect(page).toContain("What the matrices became");
    expect(page).toContain("1 fixed, 6 cycles of 4");
    expect(renderReport({ ...sample([]), curves: [], comparison: [], notes: [] })).toContain("No matrices were learned");
  });

  it("stands alone: no address, no file, no handler in an attribute, one script that parses", () => {
    const page = renderReport(sample([lifting()]));
    expect(page).not.toMatch(/https?:|\bsrc=|<link|@import|url\(| on[a-z]+=/);
    expect(page.match(/<script>/g)?.length).toBe(1);
    expect(page).toContain("default-src 'none'");
    expect(() => new Script(CLIENT)).not.toThrow();
    expect(CLIENT).not.toContain("</script");
  });

  it("escapes whatever text it is given", () => {
    const evil = `</script><img src=x onerror="alert('1')">&`;
    const layer = lifting();
    const report = sample([{ ...layer, name: evil, description: evil, planted: { ...group, name: evil, labels: [evil, evil, evil, evil] } }]);
    const page = renderReport({
      ...report,
      title: evil,
      command: evil,
      device: evil,
      date: evil,
      task: { name: evil, description: evil },
      settings: { [evil]: evil },
      notes: [evil],
      curves: [{ panel: evil, name: evil, steps: [0, 1], values: [1, 2] }],
      comparison: [{ name: evil, parameters: 1 }],
    });
    expect(page).not.toContain("<img");
    expect(page.match(/<\/script>/g)?.length).toBe(2);
    expect(page).toContain("&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;");
    expect(jsonScript("a", { evil }).html).not.toMatch(/<\/script>.+<\/script>/);
    expect(html`${["<", undefined, html`<b>`, [1]]}`.html).toBe("&lt;<b>1");
  });

  it("carries the matrices so that they can be unpacked", () => {
    const layer = lifting();
    const [data] = embedded(renderReport(sample([layer]))).layers;
    expect([data.d, data.g, data.steps.length]).toEqual([25, 4, 25]);
    const bytes = new Uint8Array(inflateSync(Buffer.from(data.bytes, "base64")));
    for (let i = 2500; i < bytes.length; i++) bytes[i] += bytes[i - 2500];
    for (const [s, { matrices }] of layer.snapshots.entries()) {
      for (let i = 0; i < 2500; i++) {
        // Half a step of the root, squared: 2·√p·(1/510) + (1/510)².
        expect(Math.abs((bytes[s * 2500 + i] / 255) ** 2 - matrices[i])).toBeLessThan(0.004);
      }
    }
    expect(data.agreement[24]).toEqual([1, 1, 1, 1]);
    expect(data.agreement[0][1]).toBeLessThan(0.3);
    expect(data.certainty[0][1]).toBeLessThan(0.1);
    expect(data.certainty[24][1]).toBeGreaterThan(0.9);
  });

  it("thins out long trainings, first and last kept", () => {
    const snapshots = sharpening(group, 25, 60);
    const kept = thin(snapshots);
    expect(kept.length).toBe(25);
    expect([kept[0], kept[24]]).toEqual([snapshots[0], snapshots[59]]);
    expect(new Set(kept).size).toBe(25);
  });

  it("packs kernels row by row, each to its own range", () => {
    const packed = encodeKernels({ values: Float32Array.of(2, -1, 0, 0, 9, 9), shape: [3, 1, 1, 2] }, 2);
    expect(Array.from(inflateSync(Buffer.from(packed, "base64")))).toEqual([255, 65, 128, 128]);
    const clipped = encodeSnapshots([{ step: 0, matrices: Float32Array.of(-1e-9, 1 + 1e-6, 0.25) }]);
    expect(Array.from(inflateSync(Buffer.from(clipped, "base64")))).toEqual([0, 255, 128]);
  });

  it("stays below 5 MB for five layers of four 100 × 100 matrices that stay noisy", () => {
    const random = createRandom(4);
    const d = 100;
    const g = 4;
    const snapshots = Array.from({ length: 25 }, (_, s) => ({
      step: s,
      matrices: Float32Array.from({ length: g * d * d }, () => (0.5 + random.uniform()) / d),
    }));
    const last = snapshots[24].matrices;
    const layer: LayerReport = { name: "group layer", d, snapshots, result: compareElements(last, d), closure: closure(last, d) };
    expect(Buffer.byteLength(renderReport(sample([layer, layer, layer, layer, layer])))).toBeLessThan(5e6);
  }, 30_000);

  it("draws gaps, constants, single points and log scales without NaN", () => {
    const curves: DiscoverReport["curves"] = [
      { panel: "gaps", name: "a", steps: [0, 1, 2, 3], values: [1, Number.NaN, Number.POSITIVE_INFINITY, 2] },
      { panel: "constant", name: "a", steps: [0, 1], values: [3, 3] },
      { panel: "zero", name: "a", steps: [0, 1], values: [0, 0] },
      { panel: "negative", name: "a", steps: [0, 1], values: [-2, -2] },
      { panel: "point", name: "a", steps: [5], values: [1], scale: "log" },
      { panel: "zeros on a log scale", name: "a", steps: [0, 1, 2], values: [0, 1e-9, 10], scale: "log" },
      { panel: "nothing", name: "a", steps: [], values: [] },
      { panel: "nothing on a log scale", name: "a", steps: [0], values: [0], scale: "log" },
    ];
    const page = renderReport({ ...sample([]), curves });
    expect(page.match(/<figure class="panel"/g)?.length).toBe(8);
    expect(visible(page)).not.toMatch(/NaN|Infinity|undefined/);
  });

  it("keeps spikes of long curves", () => {
    const values = new Array(100_000).fill(1);
    values[54_321] = 500;
    const page = renderReport({ ...sample([]), curves: [{ panel: "p", name: "a", steps: values.map((_, i) => i), values }] });
    expect(page.length).toBeLessThan(80_000);
    expect(JSON.stringify(embedded(page).panels)).toContain("[54321,500]");
  });

  it("refuses what does not fit together", () => {
    const layer = lifting();
    const bad: Partial<LayerReport>[] = [
      { snapshots: [] },
      { snapshots: [{ step: 0, matrices: new Float32Array(7) }] },
      { layout: [5, 4] },
      { closure: { ...layer.closure, g: 3 } },
      { kernels: { values: new Float32Array(8), shape: [1, 4, 1, 3] } },
      { kernels: { values: new Float32Array(9), shape: [1, 3, 1, 3] } },
    ];
    for (const change of bad) expect(() => renderReport(sample([{ ...layer, ...change }]))).toThrow(ArgumentError);
  });

  it("is written whole, over an old one, into folders that did not exist", () => {
    const path = join(folder, "a", "b", "index.html");
    const report = sample([]);
    writeReport(path, report);
    writeReport(path, report);
    expect(readFileSync(path, "utf8")).toBe(renderReport(report));
    expect(readdirSync(join(folder, "a", "b"))).toEqual(["index.html"]);
  });

  it("says which path could not be written and leaves nothing behind", () => {
    const blocked = join(folder, "file");
    writeFileSync(blocked, "");
    expect(() => writeReport(join(blocked, "index.html"), sample([]))).toThrow(FileError);
    expect(() => writeReport(folder, sample([]))).toThrow(/writeReport: expected a place that can be written/);
    expect(existsSync(blocked)).toBe(true);
    expect(readdirSync(join(folder, ".")).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("what is known of the group", () => {
  const analysed = (): LayerReport => {
    const layer = lifting();
    const { matrices } = layer.snapshots[layer.snapshots.length - 1];
    const nearest = layer.result.elements.map((element) => element.nearest);
    const square = dihedralGroup(5);
    return {
      ...layer,
      group: identifyGroup(nearest),
      match: { group, symmetries: square, ...matchGroup(nearest, group.elements, square.elements) },
      coefficients: { name: group.name, labels: group.labels, fit: fitCoefficients(matrices, 25, group.elements) },
      consistency: layerConsistency(matrices, 25, [permutationMatrices(shiftTwist(nearest))])[0],
    };
  };
  const equivariance = [
    { degrees: 45, onGroup: false, layers: [0.2, 0.1], network: 0.012 },
    { degrees: 90, onGroup: true, layers: [1e-7, 2e-7], network: 0 },
  ];

  it("is told in words and pictures", () => {
    const page = visible(renderReport({ ...sample([analysed()]), equivariance }));
    const told =
      "all elements of C4, each at its place|1, 2, 4 (2×)|4, abelian|4 (6×), 1|they form a group, C4|decided by|it is abelian, and of abelian groups|1 fixed, 6 cycles of 4|consistent: every element acts as there";
    const drawn = "Cayley table of the nearest permutations|Coefficients on the elements of C4|90° on the group|1.0e−7";
    for (const words of `${told}|${drawn}`.split("|")) expect(page).toContain(words);
    expect(page).not.toMatch(/NaN|undefined/);
  });

  it("knows every relation to a group", () => {
    const [r0, r1, r2, r3] = group.elements;
    const square = dihedralGroup(5);
    const text = (learned: readonly Permutation[]): string =>
      relationText({ group, symmetries: square, ...matchGroup(learned, group.elements, square.elements) });
    expect(text([r0, r3, r2, r1])).toMatch(/^all elements of C4, each at its place, as seen from /);
    expect(text([r0, r2, r1, r3])).toBe("all elements of C4, in another order");
    expect(text([r0, r2])).toBe("2 of the 4 elements of C4, and nothing else");
    expect(text([r0, square.elements[5]])).toBe("1 of 2 are elements of C4");
    expect(relationText({ group, symmetries: undefined, ...matchGroup([r0, r3, r2, r1], group.elements) })).toBe(
      "all elements of C4, the other way round",
    );
  });

  it("is drawn in files that need nothing else, one for each picture of the page", () => {
    const names = writePictures(folder, { ...sample([analysed()]), equivariance });
    expect(names).toEqual([
      "lifting-layer-matrices-over-training.svg",
      "lifting-layer-kernels.svg",
      "lifting-layer-agreement-with-the-planted-permutation-by-training-step.svg",
      "lifting-layer-certainty-by-training-step.svg",
      "lifting-layer-cayley-table-of-the-nearest-permutations.svg",
      "lifting-layer-relative-distance-of-products-from-the-nearest-matrix.svg",
      "lifting-layer-coefficients-on-the-elements-of-c4.svg",
      "loss-by-training-step.svg",
      "held-out-accuracy-by-training-step.svg",
      "equivariance-errors.svg",
    ]);
    expect(readdirSync(folder).sort()).toEqual([...names].sort());
    for (const name of names) {
      const text = readFileSync(join(folder, name), "utf8");
      expect(text.replace('xmlns="http://www.w3.org/2000/svg"', "")).not.toMatch(/https?:|href|@import|url\(|var\(|NaN|undefined|Infinity|<script/);
      // Every element that is opened is closed: XML, not HTML.
      const open: string[] = [];
      for (const [, closing, element, rest] of text.matchAll(/<(\/?)([a-z]+)([^>]*)>/g)) {
        if (closing) expect(open.pop()).toBe(element);
        else if (!rest.endsWith("/")) open.push(element);
      }
      expect(open).toEqual([]);
    }
  });
});

describe("numbers for people", () => {
  it("never round up to everything", () => {
    expect([0, 1e-9, 0.5, 0.99999, 1, Number.NaN].map(percent)).toEqual(["0 %", "< 0.1 %", "50.0 %", "99.9 %", "100 %", "–"]);
    expect([0, 0.1234567, 12345.6, 1e-7, -2.5e9, undefined].map(number)).toEqual(["0", "0.123", "12300", "1.0e−7", "−2.5e9", "–"]);
  });

  it("tell how a permutation moves things", () => {
    expect(cycleType([0, 1, 2])).toBe("moves nothing");
    expect(cycleType([1, 0, 2])).toBe("1 fixed, 1 cycle of 2");
    expect(cycleType(group.elements[2])).toBe("1 fixed, 12 cycles of 2");
  });
});
