/** The page: opens a device, gives lessons as the controls ask for, and shows what the matrices become. */
import { type Device, openDevice } from "birkhoff";
import { drawCurve, drawMatrices } from "./draw.ts";
import { GROUPS, Lesson, type Snapshot, type Symmetry } from "./lesson.ts";

const element = <T extends HTMLElement>(id: string): T => {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found as T;
};

const form = element<HTMLFormElement>("controls");
const control = <T extends HTMLElement>(name: string): T => form.elements.namedItem(name) as unknown as T;
const group = control<HTMLSelectElement>("group");
const size = control<HTMLInputElement>("size");
const temperature = control<HTMLInputElement>("temperature");
const pause = control<HTMLButtonElement>("pause");
const message = element("message");
const matrices = element<HTMLCanvasElement>("matrices");
const curve = element<HTMLCanvasElement>("curve");

/** Points of the curve: every so many steps one is left out when there are more. */
const MOST_POINTS = 400;

let device: Device | undefined;
let lesson: Lesson | undefined;
let seen: Snapshot[] = [];
let latest: Snapshot | undefined;
let paused = false;
/** Counts lessons: a loop whose lesson was replaced ends. */
let lessons = 0;

const tell = (text: string, action?: { readonly label: string; run(): void }): void => {
  message.hidden = text === "";
  message.textContent = text;
  if (!action) return;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = action.label;
  button.addEventListener("click", action.run);
  message.append(" ", button);
};

const show = (): void => {
  if (!lesson || !latest) return;
  element("step").textContent = String(latest.step);
  element("loss").textContent = latest.loss.toPrecision(3);
  element("agreement").textContent = latest.agreement === undefined ? "nothing to agree with" : `${Math.round(100 * latest.agreement)} %`;
  drawMatrices(matrices, lesson, latest.matrices);
  drawCurve(curve, seen);
};

const remember = (snapshot: Snapshot): void => {
  latest = snapshot;
  seen.push(snapshot);
  if (seen.length > MOST_POINTS) seen = seen.filter((_, i) => i % 2 === 0 || i === seen.length - 1);
};

/** 1 in the middle, from a tenth to ten. */
const kelvin = (): number => 10 ** temperature.valueAsNumber;

const setTemperature = (): void => {
  control<HTMLOutputElement>("kelvin").value = kelvin().toFixed(2);
  if (lesson) lesson.temperature = kelvin();
};

const frame = (): Promise<unknown> => new Promise((resolve) => requestAnimationFrame(resolve));

const teach = async (own: Device): Promise<void> => {
  const number = ++lessons;
  lesson?.dispose();
  const symmetry = new FormData(form).get("symmetry") as Symmetry;
  const current = new Lesson(own, { group: group.value, size: size.valueAsNumber, symmetry });
  lesson = current;
  seen = [];
  latest = undefined;
  setTemperature();
  let drawn = 0;
  tell("The device compiles what it has not run before; a software GPU takes a minute or two.");
  while (number === lessons) {
    if (paused) {
      await frame();
      continue;
    }
    const snapshot = await current.step();
    if (number !== lessons) return;
    remember(snapshot);
    if (snapshot.step === 1) tell("");
    if (performance.now() - drawn < 30) continue;
    show();
    await frame();
    drawn = performance.now();
  }
};

const begin = (): void => {
  if (!device || !form.reportValidity()) return;
  paused = false;
  pause.textContent = "Pause";
  teach(device).catch((error: unknown) => tell(`The lesson broke off: ${error instanceof Error ? error.message : String(error)}`));
};

const use = (opened: Device): void => {
  device = opened;
  element("device").textContent = `${opened.kind}: ${opened.info.description}`;
  begin();
};

const useReference = async (): Promise<void> => use(await openDevice({ device: "reference" }));

const setSizes = (): void => {
  const { least, most, usual } = GROUPS[group.value].sizes;
  size.min = String(least);
  size.max = String(most);
  size.value = String(usual);
};

for (const [name, { label }] of Object.entries(GROUPS)) group.add(new Option(label, name));
setSizes();
group.addEventListener("change", () => {
  setSizes();
  begin();
});
for (const input of [size, ...form.querySelectorAll("[name=symmetry]")]) input.addEventListener("change", begin);
temperature.addEventListener("input", setTemperature);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Go on" : "Pause";
});
for (const event of ["resize", "focus"]) addEventListener(event, show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);

const start = async (): Promise<void> => {
  tell("Looking for a GPU …");
  try {
    use(await openDevice({ device: "webgpu" }));
  } catch (error) {
    tell(`This page computes with WebGPU, which is not to be had here: ${error instanceof Error ? error.message : String(error)}.`, {
      label: "Run it slowly without",
      run: () => void useReference(),
    });
  }
};
await start();
