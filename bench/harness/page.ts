/** Results as one HTML file that needs nothing else: bars against rivals and the hardware's limits, and a table below each. */
import { number } from "../../src/report/format.ts";
import { type Html, html, trusted } from "../../src/report/html.ts";
import { STYLE } from "../../src/report/style.ts";
import { type Bar, barPicture, type Group } from "./bars.ts";
import type { Pass } from "./bench.ts";
import { limitOf, wholePercent } from "./report.ts";
import { isMeasured, type Kept, type Measurement, type Source } from "./results.ts";

export interface BenchPage {
  /** What each bench is about, by its name. */
  readonly about: Readonly<Record<string, string>>;
  /** What made the page. */
  readonly command: string;
  /** Names of rivals, in the order of their colours. */
  readonly rivals: readonly string[];
}

/** Of the report's colours; the first is ours. */
const COLOURS = 8;

const OWN_STYLE = `
rect.naive,i.naive{fill:var(--soft);background:var(--soft)}rect.fma,i.fma{fill:var(--accent);background:var(--accent)}rect.copy,i.copy{fill:var(--s4);background:var(--s4)}
${Array.from({ length: COLOURS }, (_, i) => `rect.s${i}{fill:var(--s${i})}`).join("")}
.legend i{height:10px}.all{stroke:var(--ink);stroke-opacity:.45;stroke-dasharray:3 3}svg text.name{font-size:13px}svg text.refused{fill:var(--bad)}
.bars{display:block;width:100%;min-width:720px;height:auto}.block h3{margin-bottom:6px}.block table{margin-top:14px;font-size:.82rem}.block th,.block td{padding:4px 14px 4px 0}
nav{display:flex;flex-wrap:wrap;gap:6px 18px;margin-top:24px}a{color:var(--accent)}.bad{color:var(--bad)}
`;

const PASSES: readonly Pass[] = ["training step", "forward+backward", "forward"];
const PASS_NAMES: Readonly<Record<Pass, string>> = {
  forward: "forward",
  "forward+backward": "forward and backward",
  "training step": "training step",
};

const distinct = (items: readonly string[]): string[] => [...new Set(items)];
const times = (ratio: number): string => `${ratio >= 100 ? ratio.toFixed(0) : ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(2)}×`;
/** Milliseconds of a software GPU say nothing of any hardware: there times are in those of our own. */
const timeOf = ({ software, device }: Measurement, ms: number, ratio: number): number => (software && device === "webgpu" ? ratio : ms);
const unitOf = (lines: readonly Kept[]): string =>
  lines.some(({ software, device }) => software && device === "webgpu")
    ? "times ours (a software GPU: milliseconds say nothing)"
    : "milliseconds a step";

const colourOf = (name: string, { rivals }: BenchPage): string => `s${1 + (Math.max(0, rivals.indexOf(name)) % (COLOURS - 1))}`;

const groupOf = (line: Kept, page: BenchPage): Group => {
  if (!isMeasured(line)) return { name: line.case, bars: [], shares: [], note: `refused: ${line.refused}` };
  const bar = (name: string, colour: string, ms: number, ratio: number): Bar => {
    const value = timeOf(line, ms, ratio);
    const label = value === ratio ? times(ratio) : `${number(ms)}${ratio === 1 ? "" : ` · ${times(ratio)}`}`;
    return { value, colour, label, title: `${line.case}, ${name}: ${label}` };
  };
  const { share, shareOf } = line;
  return {
    name: line.case,
    bars: [
      bar("birkhoff", "s0", line.medianMs, 1),
      bar("naive", "naive", line.naiveMs, line.ratioToNaive),
      ...Object.entries(line.rivals).map(([name, ratio]) => bar(name, colourOf(name, page), line.rivalMs[name], ratio)),
    ],
    shares:
      share === null || shareOf === null
        ? []
        : [{ value: share, colour: shareOf, label: wholePercent(share), title: `${line.case}: ${limitOf(line)}` }],
  };
};

const legend = (entries: readonly (readonly [colour: string, name: string])[]): Html =>
  html`<ul class="legend">${entries.map(([colour, name]) => html`<li><i class="${colour}"></i>${name}</li>`)}</ul>`;

const rivalsOf = (lines: readonly Kept[]): string[] => distinct(lines.filter(isMeasured).flatMap(({ rivals }) => Object.keys(rivals)));

/** Columns that nobody fills are left out. */
const table = (heads: readonly string[], rows: readonly (readonly string[])[]): Html => {
  const filled = heads.map((_, i) => i).filter((i) => rows.some((cells) => (cells[i] ?? "") !== ""));
  const [first, ...others] = filled;
  return html`<div class="scroll"><table><thead><tr><th>${heads[first]}</th>${others.map((i) => html`<th class="n">${heads[i]}</th>`)}</tr></thead><tbody>${rows.map(
    (cells) => html`<tr><th>${cells[first]}</th>${others.map((i) => html`<td class="n">${cells[i] ?? ""}</td>`)}</tr>`,
  )}</tbody></table></div>`;
};

const block = (title: string, keys: Html, unit: string, groups: readonly Group[], figures: Html): Html => {
  const { width, height, body } = barPicture(title, unit, groups);
  return html`<div class="block"><h3>${title}</h3>${keys}<div class="scroll"><svg class="bars" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">${body}</svg></div>${figures}</div>`;
};

const megabytes = (bytes: number): string => (bytes / 1e6).toPrecision(3);

/** All sides on one device: cases in groups. */
const sides = (source: Source, lines: readonly Kept[], pass: Pass, page: BenchPage): Html => {
  const rivals = rivalsOf(lines);
  const relative = unitOf(lines) !== "milliseconds a step";
  const runs = distinct(source.lines.map(({ date }) => date)).length;
  const cells = (line: Kept): string[] => {
    if (!isMeasured(line)) return [line.case, "refused"];
    const time = (ms: number | undefined, ratio: number): string =>
      ms === undefined ? "" : relative ? times(ratio) : `${number(ms)} (${times(ratio)})`;
    const { medianMs, spread, naiveMs, ratioToNaive, scaling, dispatches, newBuffers, bytes, minimumBytes, errors, commit, date } = line;
    return [
      line.case,
      relative ? "1" : `${number(medianMs)} ± ${spread.toFixed(0)} %`,
      time(naiveMs, ratioToNaive),
      ...rivals.map((name) => time(line.rivalMs[name], line.rivals[name])),
      limitOf(line),
      scaling === null ? "" : times(scaling),
      `${dispatches}`,
      `${newBuffers}`,
      `${megabytes(bytes)} (${megabytes(minimumBytes)})`,
      number(Math.max(...Object.values(errors))),
      runs > 1 ? `${date.slice(0, 10)}, ${commit}` : "",
    ];
  };
  const heads = [
    "case",
    relative ? "birkhoff" : "birkhoff, ms",
    "naive",
    ...rivals,
    "limit",
    "of one thread",
    "dispatches",
    "new buffers",
    "MB (least)",
    "largest error",
    "measured",
  ];
  const limits = distinct(lines.filter(isMeasured).flatMap(({ shareOf }) => shareOf ?? []));
  const keys = legend([
    ["s0", "birkhoff"],
    ["naive", "the same out of elementary ops"],
    ...rivals.map((name) => [colourOf(name, page), name] as const),
    ...limits.map((limit) => [limit, limit === "fma" ? "share of the multiply-add peak" : "share of the copy bandwidth"] as const),
  ]);
  const groups = lines.map((line) => groupOf(line, page));
  return block(`${source.name}, ${PASS_NAMES[pass]}`, keys, unitOf(lines), groups, table(heads, lines.map(cells)));
};

/** Our own times and shares, devices beside each other; of cases that more than one has. */
const devices = (sources: readonly Source[], of: (source: Source) => readonly Kept[], pass: Pass): Html | undefined => {
  const measured = sources.map((source) =>
    of(source)
      .filter(isMeasured)
      .filter(({ software, device }) => !(software && device === "webgpu")),
  );
  const find = (name: string): (Measurement | undefined)[] => measured.map((lines) => lines.find((line) => line.case === name));
  const names = distinct(measured.flat().map((line) => line.case)).filter((name) => find(name).filter(Boolean).length > 1);
  if (names.length === 0) return undefined;
  const shown = sources.map((source, i) => ({
    name: source.name,
    colour: `s${i % COLOURS}`,
    has: measured[i].some((line) => names.includes(line.case)),
  }));
  const groups = names.map((name): Group => {
    const bars = find(name).flatMap((line, i) => {
      if (!line) return [];
      const { colour, name: place } = shown[i];
      const label = `${number(line.medianMs)} ms`;
      const time: Bar = { value: line.medianMs, colour, label, title: `${name}, ${place}: ${label}` };
      return [
        {
          time,
          share:
            line.share === null
              ? undefined
              : { ...time, value: line.share, label: wholePercent(line.share), title: `${name}, ${place}: ${limitOf(line)}` },
        },
      ];
    });
    return { name, bars: bars.map(({ time }) => time), shares: bars.map(({ share }) => share) };
  });
  const columns = shown.map(({ has }, i) => (has ? i : -1)).filter((i) => i >= 0);
  const figures = table(
    ["case", ...columns.map((i) => `${shown[i].name}, ms`)],
    names.map((name) => [
      name,
      ...columns
        .map((i) => find(name)[i])
        .map((line) => (line ? `${number(line.medianMs)}${line.share === null ? "" : ` (${wholePercent(line.share)})`}` : "")),
    ]),
  );
  const keys = legend(columns.map((i) => [shown[i].colour, shown[i].name]));
  return block(`${columns.length} devices compared, ${PASS_NAMES[pass]}`, keys, "milliseconds a step", groups, figures);
};

const suite = (name: string, sources: readonly Source[], page: BenchPage): Html => {
  const linesOf =
    (pass: Pass) =>
    ({ lines }: Source): readonly Kept[] =>
      lines.filter((line) => line.bench === name && line.pass === pass);
  const compared = sources.length > 1 ? PASSES.map((pass) => devices(sources, linesOf(pass), pass)) : [];
  const own = sources.flatMap((source) =>
    PASSES.map((pass) => {
      const lines = linesOf(pass)(source);
      return lines.length > 0 ? sides(source, lines, pass, page) : undefined;
    }),
  );
  return html`<section id="${name}"><h2>${name}</h2><p class="lead">${page.about[name]}</p>${compared}${own}</section>`;
};

const geometricMean = (ratios: readonly number[]): number => Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);

const tiles = ({ name, lines }: Source): Html => {
  const measured = lines.filter(isMeasured);
  const tile = (side: string, ratios: readonly number[]): Html =>
    html`<div class="tile"><b>${times(geometricMean(ratios))}</b><span>as fast as ${side}, geometric mean of ${ratios.length}</span></div>`;
  if (measured.length === 0) return html`<p class="lead">${name}: nothing was measured</p>`;
  return html`<h3 style="margin-top:28px">${name}</h3><div class="tiles" style="margin-top:10px">${tile(
    "elementary ops",
    measured.map(({ ratioToNaive }) => ratioToNaive),
  )}${rivalsOf(lines).map((rival) =>
    tile(
      rival,
      measured.flatMap(({ rivals }) => rivals[rival] ?? []),
    ),
  )}</div>`;
};

const facts = ({ name, lines }: Source): Html => {
  const measured = lines.filter(isMeasured);
  const most = (values: readonly (number | null)[]): string => {
    const found = values.filter((value) => value !== null);
    return found.length === 0 ? "" : number(Math.max(...found));
  };
  const limits = [most(measured.map(({ fmaGflops }) => fmaGflops)), most(measured.map(({ copyGBs }) => copyGBs))];
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ["device", distinct(lines.map(({ device, description }) => `${device}: ${description}`))],
    ["limits measured", limits[0] === "" ? [] : [`${limits[0]} GFLOP/s multiply-adds, ${limits[1]} GB/s copied, read and written`]],
    [
      "runs",
      distinct(
        lines.map(
          ({ date, commit, node, load }) =>
            `${date.slice(0, 16).replace("T", " ")} UTC, commit ${commit}, Node ${node.slice(1)}, load ${load.toFixed(2)} before`,
        ),
      ),
    ],
    ["commands", distinct(lines.flatMap(({ command, rounds }) => (command === undefined ? [] : `${command} (${rounds} rounds)`)))],
    ["rivals", distinct(lines.flatMap(({ versions = {} }) => Object.entries(versions).map(([rival, version]) => `${rival}: ${version}`)))],
    [
      "not raced",
      distinct(
        measured.flatMap(({ absent = {} }) =>
          Object.entries(absent)
            .filter(([rival]) => !rivalsOf(lines).includes(rival))
            .map(([rival, why]) => `${rival}: ${why}`),
        ),
      ),
    ],
  ];
  return html`<h3 style="margin-top:20px">${name}</h3><dl class="facts">${rows
    .filter(([, values]) => values.length > 0)
    .map(
      ([fact, values]) => html`<div><dt>${fact}</dt><dd>${values.map((value, i) => html`${i > 0 ? trusted("<br>") : undefined}${value}`)}</dd></div>`,
    )}</dl>`;
};

/** The whole page as text. */
export const renderBenchPage = (sources: readonly Source[], page: BenchPage): string => {
  const names = distinct(sources.flatMap(({ lines }) => lines.map(({ bench }) => bench)));
  const steps = sources.reduce((sum, { lines }) => sum + lines.filter(isMeasured).length, 0);
  const refused = sources.flatMap(({ name, lines }) =>
    lines.filter((line) => !isMeasured(line)).map((line) => `${line.case}, ${line.pass}, ${name}`),
  );
  const view = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>birkhoff: kernels beside other libraries</title>
<style>${trusted(STYLE)}${trusted(OWN_STYLE)}</style></head>
<body><main>
<header class="hero"><p class="eyebrow">birkhoff bench</p><h1>Kernels beside other libraries</h1>
<p class="lead">${steps} steps measured. Every side has the same inputs, its results were compared before it was timed, and all took turns. Ratios are theirs over ours: above 1, ours is faster.</p>
${refused.length > 0 ? html`<p class="bad">Refused: ${refused.join("; ")}.</p>` : undefined}
${sources.map(tiles)}<nav>${names.map((name) => html`<a href="#${name}">${name}</a>`)}<a href="#machines">machines</a></nav></header>
${names.map((name) => suite(name, sources, page))}
<section id="machines"><h2>Machines</h2><p class="lead">Limits are measured on the device itself, beside the cases. A share is the least work of a case on paper over its time, of the limit that it meets first; a kernel that does with fewer operations than the definition, such as Winograd's, exceeds 100 %.</p>
${sources.map(facts)}
<pre><code>${page.command}</code></pre></section>
</main></body></html>
`;
  return view.html;
};
