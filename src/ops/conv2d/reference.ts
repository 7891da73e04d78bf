/** y[n, o, i, j] = bias[o] + Σ_{c, u, v} x[n, c, i·s + u·d − p, j·s + v·d − p] · w[o, c, u, v], and its three transposes. */
import type { ReferenceRun } from "../../op.ts";
import { type ConvAttrs, type DataAttrs, type Geometry, geometry, type WeightAttrs } from "./geometry.ts";

/** Visits every product of the sum: flat positions in x, w and y. */
const products = (g: Geometry, visit: (x: number, w: number, y: number) => void): void => {
  const [height, width] = g.size;
  const [rows, columns] = g.out;
  for (let n = 0; n < g.batch; n++) {
    for (let o = 0; o < g.groups * g.features; o++) {
      const group = Math.floor(o / g.features);
      for (let c = 0; c < g.channels; c++) {
        const plane = (n * g.groups * g.channels + group * g.channels + c) * height;
        for (let u = 0; u < g.kernel[0]; u++) {
          for (let v = 0; v < g.kernel[1]; v++) {
            const w = ((o * g.channels + c) * g.kernel[0] + u) * g.kernel[1] + v;
            for (let i = 0; i < rows; i++) {
              const row = i * g.stride[0] + u * g.dilation[0] - g.start[0];
              if (row < 0 || row >= height) continue;
              const y = ((n * g.groups * g.features + o) * rows + i) * columns;
              for (let j = 0; j < columns; j++) {
                const column = j * g.stride[1] + v * g.dilation[1] - g.start[1];
                if (column >= 0 && column < width) visit((plane + row) * width + column, w, y + j);
              }
            }
          }
        }
      }
    }
  }
};

export const forward = ({ call, inputs: [x, w, bias], outputs: [y] }: ReferenceRun<ConvAttrs>): void => {
  const g = geometry(call.inputs[0].shape, call.inputs[1].shape, call.attrs);
  const area = g.out[0] * g.out[1];
  const features = g.groups * g.features;
  for (let i = 0; i < y.length; i++) y[i] = bias ? bias[Math.floor(i / area) % features] : 0;
  products(g, (atX, atW, atY) => {
    y[atY] += x[atX] * w[atW];
  });
};

export const backwardData = ({ call, inputs: [dy, w], outputs: [dx] }: ReferenceRun<DataAttrs>): void => {
  dx.fill(0);
  products(geometry(call.outputs[0].shape, call.inputs[1].shape, call.attrs), (atX, atW, atY) => {
    dx[atX] += dy[atY] * w[atW];
  });
};

export const backwardWeight = ({ call, inputs: [dy, x], outputs: [dw] }: ReferenceRun<WeightAttrs>): void => {
  dw.fill(0);
  products(geometry(call.inputs[1].shape, call.outputs[0].shape, call.attrs), (atX, atW, atY) => {
    dw[atW] += dy[atY] * x[atX];
  });
};

export const backwardBias = ({ call, inputs: [dy], outputs: [db] }: ReferenceRun): void => {
  const [, features, rows, columns] = call.inputs[0].shape;
  db.fill(0);
  for (let i = 0; i < dy.length; i++) db[Math.floor(i / (rows * columns)) % features] += dy[i];
};
