/** Windows of kernel × kernel pixels, `stride` apart, over planes of height × width with `padding` around them. */
import type { ReferenceRun, Shape } from "../../op.ts";

export interface PoolAttrs extends Record<string, readonly number[]> {
  /** Per axis: height, width. */
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
}

export interface PoolBackwardAttrs extends PoolAttrs {
  /** Height and width of the gradient. */
  readonly size: readonly number[];
}

/** Visits every pixel of every window, in scan order: flat positions in x and y. */
const windows = (x: Shape, y: Shape, { kernel, stride, padding }: PoolAttrs, visit: (x: number, y: number, pixel: number) => void): void => {
  const [batch, channels, height, width] = x;
  const [, , rows, columns] = y;
  for (let plane = 0; plane < batch * channels; plane++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        for (let u = 0; u < kernel[0]; u++) {
          const row = i * stride[0] + u - padding[0];
          if (row < 0 || row >= height) continue;
          for (let v = 0; v < kernel[1]; v++) {
            const column = j * stride[1] + v - padding[1];
            if (column < 0 || column >= width) continue;
            const pixel = row * width + column;
            visit(plane * height * width + pixel, (plane * rows + i) * columns + j, pixel);
          }
        }
      }
    }
  }
};

export const max = ({ call, inputs: [x], outputs: [y, indices] }: ReferenceRun<PoolAttrs>): void => {
  indices.fill(-1);
  windows(call.inputs[0].shape, call.outputs[0].shape, call.attrs, (atX, atY, pixel) => {
    if (indices[atY] < 0 || x[atX] > y[atY] || Number.isNaN(x[atX])) {
      y[atY] = x[atX];
      indices[atY] = pixel;
    }
  });
};

export const maxBackward = ({ call, inputs: [dy, indices], outputs: [dx] }: ReferenceRun<PoolBackwardAttrs>): void => {
  const [height, width] = call.attrs.size;
  const area = call.inputs[0].shape[2] * call.inputs[0].shape[3];
  dx.fill(0);
  for (let i = 0; i < dy.length; i++) {
    const inside = indices[i] >= 0 && indices[i] < height * width;
    if (inside) dx[Math.floor(i / area) * height * width + indices[i]] += dy[i];
  }
};

export const average = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<PoolAttrs>): void => {
  const { kernel } = call.attrs;
  y.fill(0);
  windows(call.inputs[0].shape, call.outputs[0].shape, call.attrs, (atX, atY) => {
    y[atY] += x[atX] / (kernel[0] * kernel[1]);
  });
};

export const averageBackward = ({ call, inputs: [dy], outputs: [dx] }: ReferenceRun<PoolBackwardAttrs>): void => {
  const { kernel } = call.attrs;
  dx.fill(0);
  windows(call.outputs[0].shape, call.inputs[0].shape, call.attrs, (atX, atY) => {
    dx[atX] += dy[atY] / (kernel[0] * kernel[1]);
  });
};

export const globalAverage = ({ call, inputs: [x], outputs: [y] }: ReferenceRun): void => {
  const area = call.inputs[0].shape[2] * call.inputs[0].shape[3];
  y.fill(0);
  for (let i = 0; i < x.length; i++) y[Math.floor(i / area)] += x[i] / area;
};

export const globalAverageBackward = ({ call, inputs: [dy], outputs: [dx] }: ReferenceRun<{ size: readonly number[] }>): void => {
  const area = call.attrs.size[0] * call.attrs.size[1];
  for (let i = 0; i < dx.length; i++) dx[i] = dy[Math.floor(i / area)] / area;
};
