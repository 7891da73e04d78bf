/** The canvases: matrices as squares of ink, curves of loss and agreement. */
import type { Lesson, Snapshot } from "./lesson.ts";

const GAP = 10;
const LABEL = 18;

/** A canvas's context with the size of its element on the screen, in CSS pixels, cleared. */
const context = (canvas: HTMLCanvasElement, height: number): CanvasRenderingContext2D => {
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const drawing = canvas.getContext("2d");
  if (!drawing) throw new Error("this browser draws nothing on a canvas");
  drawing.scale(ratio, ratio);
  return drawing;
};

const colour = (name: string): string => {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
};

const square = (drawing: CanvasRenderingContext2D, values: Float32Array, d: number, left: number, top: number, side: number): void => {
  const cell = side / d;
  for (let n = 0; n < d; n++) {
    for (let m = 0; m < d; m++) {
      drawing.globalAlpha = Math.min(1, Math.max(0, values[n * d + m]));
      drawing.fillRect(left + m * cell, top + n * cell, cell + 0.3, cell + 0.3);
    }
  }
  drawing.globalAlpha = 1;
  drawing.strokeRect(left, top, side, side);
};

/** Each learned matrix above what the teacher does. */
export const drawMatrices = (canvas: HTMLCanvasElement, lesson: Lesson, matrices: Float32Array): void => {
  const { d, labels, teacher } = lesson;
  const columns = Math.min(labels.length, 4);
  const rows = Math.ceil(labels.length / columns);
  const pair = teacher ? 1.4 : 1;
  const side = (canvas.clientWidth - GAP * (columns - 1)) / columns;
  const small = side * (pair - 1);
  const band = side + LABEL + (teacher ? small + 4 : 0) + GAP;
  canvas.style.height = `${rows * band}px`;
  const drawing = context(canvas, rows * band);
  drawing.font = "12px system-ui, sans-serif";
  drawing.strokeStyle = colour("--line");
  for (const [i, label] of labels.entries()) {
    const left = (i % columns) * (side + GAP);
    const top = Math.floor(i / columns) * band;
    drawing.fillStyle = colour("--quiet");
    drawing.fillText(label, left, top + 12);
    drawing.fillStyle = colour("--ink");
    square(drawing, matrices.subarray(i * d * d, (i + 1) * d * d), d, left, top + LABEL, side);
    if (!teacher) continue;
    drawing.fillStyle = colour("--second");
    square(drawing, teacher.subarray(i * d * d, (i + 1) * d * d), d, left, top + LABEL + side + 4, small);
  }
};

export const drawCurve = (canvas: HTMLCanvasElement, seen: readonly Snapshot[]): void => {
  const height = canvas.clientHeight;
  const drawing = context(canvas, height);
  const last = Math.max(1, seen.at(-1)?.step ?? 1);
  const logs = seen.map(({ loss }) => Math.log10(Math.max(loss, 1e-8)));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const line = (style: string, value: (i: number) => number | undefined): void => {
    drawing.strokeStyle = style;
    drawing.lineWidth = 1.5;
    drawing.beginPath();
    for (const [i, { step }] of seen.entries()) {
      const share = value(i);
      if (share !== undefined) drawing.lineTo((step / last) * canvas.clientWidth, 4 + (1 - share) * (height - 8));
    }
    drawing.stroke();
  };
  line(colour("--accent"), (i) => (logs[i] - low) / Math.max(1e-9, high - low));
  line(colour("--second"), (i) => seen[i].agreement);
};
