/** y[n, o, i] = bias[o] + Σ_{c, u} x[n, c, i·s + u·d − p] · w[o, c, u] for i and u of three axes, and its two transposes. */
import type { Numbers, ReferenceRun } from "../../op.ts";
import { type ConvAttrs, type Geometry, ofData, ofForward, ofWeight } from "./geometry.ts";

/** Along one axis: positions in x, w and y that meet. */
const meetings = (g: Geometry, axis: number): (readonly [number, number, number])[] => {
  const found: [number, number, number][] = [];
  for (let u = 0; u < g.kernel[axis]; u++) {
    for (let i = 0; i < g.out[axis]; i++) {
      const a = i * g.stride[axis] + u * g.dilation[axis] - g.start[axis];
      if (a >= 0 && a < g.size[axis]) found.push([a, u, i]);
    }
  }
  return found;
};

/** Visits every product of the sum: flat positions in x, w and y. */
const products = (g: Geometry, visit: (x: number, w: number, y: number) => void): void => {
  const [planes, rows, columns] = [0, 1, 2].map((axis) => meetings(g, axis));
  const at = (channel: number, [depth, height, width]: readonly number[], d: number, h: number, w: number): number =>
    ((channel * depth + d) * height + h) * width + w;
  for (let n = 0; n < g.batch; n++) {
    for (let o = 0; o < g.groups * g.features; o++) {
      const group = Math.floor(o / g.features);
      for (let c = 0; c < g.channels; c++) {
        const ofX = (n * g.groups + group) * g.channels + c;
        const ofW = o * g.channels + c;
        const ofY = n * g.groups * g.features + o;
        for (const [x0, w0, y0] of planes) {
          for (const [x1, w1, y1] of rows) {
            const [x, w, y] = [at(ofX, g.size, x0, x1, 0), at(ofW, g.kernel, w0, w1, 0), at(ofY, g.out, y0, y1, 0)];
            for (const [x2, w2, y2] of columns) visit(x + x2, w + w2, y + y2);
          }
        }
      }
    }
  }
};

/** Every element of a [batch, channels, …] array starts as its channel's bias. */
const startWith = (result: Numbers, bias: Numbers | undefined, batch: number): void => {
  const area = bias ? result.length / batch / bias.length : 1;
  for (let i = 0; i < result.length; i++) result[i] = bias ? bias[Math.floor(i / area) % bias.length] : 0;
};

export const forward = ({ call, inputs: [x, w, bias], outputs: [y] }: ReferenceRun<ConvAttrs>): void => {
  const g = ofForward(call);
  startWith(y, bias, g.batch);
  products(g, (atX, atW, atY) => {
    y[atY] += x[atX] * w[atW];
  });
};

export const data = ({ call, inputs: [dy, w, bias], outputs: [dx] }: ReferenceRun<ConvAttrs>): void => {
  const g = ofData(call);
  startWith(dx, bias, g.batch);
  products(g, (atX, atW, atY) => {
    dx[atX] += dy[atY] * w[atW];
  });
};

export const weight = ({ call, inputs: [dy, x], outputs: [dw] }: ReferenceRun<ConvAttrs>): void => {
  dw.fill(0);
  products(ofWeight(call), (atX, atW, atY) => {
    dw[atW] += dy[atY] * x[atX];
  });
};
