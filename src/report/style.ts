/** The page's style sheet. Colours are variables, so that light and dark differ in one place and canvases can read them. */
import { scaleLinear } from "d3-scale";

/** Steps between the ends of a colour scale in a picture. */
export const LEVELS = 24;

const palette = (colours: string): ReadonlyMap<string, string> => {
  const named = new Map(colours.split(";").map((pair) => pair.trim().split(":") as [string, string]));
  const of = (name: string): string => named.get(name) ?? "";
  const heat = scaleLinear([0, 0.3, 0.65, 1], ["heat0", "heat1", "heat2", "heat3"].map(of));
  const diverging = scaleLinear([0, 0.5, 1], ["neg", "heat0", "pos"].map(of));
  for (let level = 0; level <= LEVELS; level++) {
    named.set(`q${level}`, heat(level / LEVELS));
    named.set(`r${level}`, diverging(level / LEVELS));
  }
  return named;
};

const LIGHT =
  palette(`paper:#faf9f6;card:#fff;ink:#1d2127;soft:#5d646e;line:#e4e1da;accent:#235b8c;good:#1a7f5a;good-bg:#e3f3ec;bad:#b3402f;bad-bg:#fae8e4;
heat0:#f4f2ec;heat1:#a9cbe0;heat2:#3d7fb3;heat3:#0f2f57;neg:#b5532f;pos:#20618f;
s0:#2a78d6;s1:#e0692c;s2:#1a9e70;s3:#8250c4;s4:#c99400;s5:#d2486f;s6:#3a8f9c;s7:#7a8028`);

const DARK =
  palette(`paper:#14171b;card:#1b1f25;ink:#e6e8eb;soft:#98a1ad;line:#2d333c;accent:#7fb8e6;good:#57c79a;good-bg:#17362b;bad:#ef8a76;bad-bg:#402119;
heat0:#20252d;heat1:#2b567c;heat2:#58a3d6;heat3:#eaf6ff;neg:#e08a5f;pos:#6db3e6;
s0:#5598e8;s1:#ea8450;s2:#38b98a;s3:#a884e0;s4:#d3a93a;s5:#e7779a;s6:#5cb3c0;s7:#a5ab4e`);

const variables = (colours: ReadonlyMap<string, string>): string => Array.from(colours, ([name, colour]) => `--${name}:${colour}`).join(";");

/** What pictures are drawn with, in the page and as files. */
const PICTURES = `
svg .grid path{stroke:var(--line);fill:none}
svg text{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
svg .end{text-anchor:end}svg .mid{text-anchor:middle}
svg .name{fill:var(--ink)}svg .title{fill:var(--ink);font-size:15px;font-weight:600}svg .dark{fill:var(--card)}svg .back{fill:var(--card)}
svg .cells path{fill:currentColor}svg .cells .none{fill:none;stroke:var(--line)}
svg .tiles{shape-rendering:crispEdges}svg .tiles path{stroke:currentColor;fill:none}svg .tiles rect{fill:currentColor}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.cursor{stroke:var(--ink);stroke-opacity:.35;fill:none;visibility:hidden}
${Array.from({ length: 8 }, (_, i) => `path.s${i}{stroke:var(--s${i})}`).join("")}
${Array.from({ length: LEVELS + 1 }, (_, level) => `.q${level}{color:var(--q${level})}.r${level}{color:var(--r${level})}`).join("")}
`;

const filled = (colours: ReadonlyMap<string, string>): string =>
  PICTURES.replace(/var\(--([a-z0-9-]+)\)/g, (_, name: string) => colours.get(name) ?? "");

/** The same with colours in place, light and, for readers who prefer it, dark: not every program that shows SVG knows variables. */
export const PICTURE_STYLE = `svg{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
${filled(LIGHT)}@media (prefers-color-scheme:dark){${filled(DARK)}}`;

export const STYLE = `
:root{color-scheme:light dark;${variables(LIGHT)}}
@media (prefers-color-scheme:dark){:root{${variables(DARK)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1080px;margin:0 auto;padding:40px 20px 96px}
h1,h2,h3,h4,p,figure{margin:0}
section{margin-top:64px}
h2{font-size:1.45rem;letter-spacing:-.01em;font-weight:620}
h3{font-size:.95rem;font-weight:600}
h3 small{font-weight:400;color:var(--soft)}
.eyebrow{color:var(--soft);font-size:.9rem}
h1{font-size:clamp(2.1rem,6vw,3.4rem);line-height:1.1;letter-spacing:-.025em;font-weight:680;margin:.25em 0 .2em}
h1.good{color:var(--good)}h1.bad{color:var(--bad)}
.lead{color:var(--soft);max-width:46em}
.hero .lead{font-size:1.15rem}
.small{color:var(--soft);font-size:.85rem;margin-top:10px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:28px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tile b{display:block;font-size:1.6rem;font-weight:620;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,248px),1fr));gap:16px;margin-top:24px}
.cards.large{grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:16px}
.card header{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:center;gap:10px;margin-bottom:14px}
h4{font-size:1.15rem;font-weight:620}
.badge{display:inline-block;margin-top:2px;font-size:.8rem;padding:2px 9px;border-radius:99px;background:var(--heat0);color:var(--soft);white-space:nowrap}
.badge.good{background:var(--good-bg);color:var(--good)}.badge.bad{background:var(--bad-bg);color:var(--bad)}
span.good{color:var(--good)}span.bad{color:var(--bad)}
canvas{display:block;image-rendering:pixelated;background:var(--heat0);border-radius:2px}
.probe{height:52px;width:auto;max-width:120px;border-radius:3px}
.strip{width:100%;height:18px;border-radius:3px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:12px}
.pair:has(figure:only-child){grid-template-columns:1fr}
.pair canvas{width:100%;aspect-ratio:1}
.pair figcaption{color:var(--soft);font-size:.8rem;margin-top:4px}
.bar{display:grid;grid-template-columns:5.2em 1fr 4em;align-items:center;gap:10px;font-size:.85rem;color:var(--soft);margin-top:8px}
.bar b,.meter b{height:6px;border-radius:3px;background:var(--heat0);overflow:hidden}
.bar i,.meter i{display:block;height:100%;border-radius:3px;background:var(--accent);width:0}
.bar output{color:var(--ink);text-align:right;font-variant-numeric:tabular-nums}
.scale{display:inline-block;width:90px;height:9px;border-radius:2px;vertical-align:-1px;margin:0 2px;background:linear-gradient(90deg,var(--heat0),var(--heat1) 30%,var(--heat2) 65%,var(--heat3))}
.scale.diverging{background:linear-gradient(90deg,var(--neg),var(--heat0),var(--pos))}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:16px;margin-top:24px}
.panel,.block{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:16px}
.block{margin-top:16px}
.panel figcaption{min-height:3.2em}
.panel svg{display:block;width:100%;height:auto;touch-action:pan-y}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 14px;margin:4px 0 6px;padding:0;font-size:.82rem;color:var(--soft)}
.legend i{display:inline-block;width:12px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle}
.legend output{color:var(--ink);font-variant-numeric:tabular-nums}
${PICTURES}i.s0{background:var(--s0)}i.s1{background:var(--s1)}i.s2{background:var(--s2)}i.s3{background:var(--s3)}i.s4{background:var(--s4)}i.s5{background:var(--s5)}i.s6{background:var(--s6)}i.s7{background:var(--s7)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;font-weight:600;font-size:.95rem;padding-bottom:8px}
th,td{text-align:left;padding:7px 14px 7px 0;border-top:1px solid var(--line);font-weight:400;white-space:nowrap}
thead th,thead td{border-top:0;color:var(--soft);font-size:.82rem}
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums}
th.n:last-child,td.n:last-child{padding-right:0}
tbody th{font-weight:600}th small,td small{color:var(--soft);font-weight:400}
.pictures{display:flex;flex-wrap:wrap;gap:28px 40px}
.picture{max-width:100%;overflow-x:auto}.picture svg{display:block}.picture figcaption{font-weight:600;font-size:.95rem;margin-bottom:8px}
.facts dt{white-space:nowrap}.facts{margin:12px 0 0;display:block}.facts div{justify-content:start;gap:20px}.facts dt{min-width:12em}.facts dd{text-align:left}
.comparison{margin-top:20px}
.own th,.own td{background:color-mix(in srgb,var(--accent) 9%,transparent)}
.comparison th:first-child{padding-left:10px}
.comparison .n:last-child{padding-right:10px}
.meter{display:grid;grid-template-columns:minmax(60px,160px) auto;align-items:center;gap:10px;font-variant-numeric:tabular-nums;justify-content:start}
.meter b{background:var(--line)}
.kernels{margin-top:12px;width:max-content;max-width:100%;overflow-x:auto}
.heads{display:grid;grid-template-columns:repeat(var(--g),1fr);font-size:.78rem;color:var(--soft);text-align:center;margin-bottom:6px;width:calc(var(--g)*(var(--cell) + 12px))}
.heads span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.kernels canvas{width:calc(var(--g)*(var(--cell) + 12px));background:none;border-radius:0}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;overflow-x:auto;margin:16px 0 0;font:.88rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
details{margin-top:16px}summary{cursor:pointer;color:var(--accent)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:2px 28px;margin:12px 0 0;font-size:.9rem}
dl div{display:flex;justify-content:space-between;gap:12px;border-bottom:1px solid var(--line);padding:4px 0}
dt{color:var(--soft)}dd{margin:0;font-variant-numeric:tabular-nums;text-align:right;overflow-wrap:anywhere}
.notes{color:var(--soft);padding-left:1.1em;max-width:50em}
.player{position:fixed;z-index:2;left:50%;bottom:max(14px,env(safe-area-inset-bottom));transform:translateX(-50%);width:min(620px,calc(100% - 24px));display:flex;align-items:center;gap:14px;padding:8px 18px 8px 8px;border:1px solid var(--line);border-radius:99px;background:color-mix(in srgb,var(--card) 92%,transparent);backdrop-filter:blur(8px);box-shadow:0 6px 24px rgb(0 0 0/.12)}
.player[hidden],.tip[hidden],.bar[hidden]{display:none}
.player button{flex:none;width:38px;height:38px;border:0;border-radius:50%;background:var(--accent);cursor:pointer;position:relative}
.player button::before{content:"";position:absolute;left:15px;top:11px;border:8px solid transparent;border-left:12px solid var(--card);border-right:0}
.player.playing button::before{left:13px;top:12px;width:12px;height:14px;border:solid var(--card);border-width:0 4px}
.player input{flex:1;min-width:0;accent-color:var(--accent)}
.player output{flex:none;min-width:6.5em;text-align:right;font-size:.88rem;font-variant-numeric:tabular-nums}
.tip{position:fixed;z-index:3;pointer-events:none;padding:4px 9px;border-radius:6px;background:var(--ink);color:var(--paper);font-size:.8rem;font-variant-numeric:tabular-nums;white-space:nowrap}
@media (max-width:480px){main{padding:28px 14px 96px}section{margin-top:48px}.tile b{font-size:1.35rem}.tiles{grid-template-columns:1fr 1fr}}
@media print{.player{display:none}main{padding-bottom:0}.card,.panel,.block{break-inside:avoid}}
`;
