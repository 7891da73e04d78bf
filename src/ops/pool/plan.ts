import * as shaders from "../../generated/pool.ts";
import { type BufferRef, type Call, elements, grid, input, type Limits, output, type Plan } from "../../op.ts";
import type { PoolAttrs, PoolBackwardAttrs } from "./reference.ts";

const THREADS = 256;
/** From this many pixels on, a whole workgroup sums one plane of the global average. */
export const GROUP_PIXELS = 64;

const windows = (
  entry: string,
  large: readonly number[],
  small: readonly number[],
  { kernel, stride, padding }: PoolAttrs,
  bind: Record<string, BufferRef>,
  count: number,
  limits: Limits,
): Plan => ({
  passes: [
    {
      shader: shaders.windows,
      entry,
      params: { count, planes: [...large.slice(2), ...small.slice(2)], window: [...kernel, ...stride], padding: [...padding, 0, 0] },
      bind,
      workgroups: grid(Math.ceil(count / THREADS), limits),
    },
  ],
});

export const max = ({ attrs, inputs: [x], outputs: [y] }: Call<PoolAttrs>, limits: Limits): Plan =>
  windows("max_forward", x.shape, y.shape, attrs, { source: input(0), result: output(0), indices: output(1) }, elements(y.shape), limits);

export const maxBackward = ({ attrs, inputs: [dy], outputs: [dx] }: Call<PoolBackwardAttrs>, limits: Limits): Plan =>
  windows("max_backward", dx.shape, dy.shape, attrs, { source: input(0), chosen: input(1), result: output(0) }, elements(dx.shape), limits);

export const average = ({ attrs, inputs: [x], outputs: [y] }: Call<PoolAttrs>, limits: Limits): Plan =>
  windows("average_forward", x.shape, y.shape, attrs, { source: input(0), result: output(0) }, elements(y.shape), limits);

export const averageBackward = ({ attrs, inputs: [dy], outputs: [dx] }: Call<PoolBackwardAttrs>, limits: Limits): Plan =>
  windows("average_backward", dx.shape, dy.shape, attrs, { source: input(0), result: output(0) }, elements(dx.shape), limits);

const planes = (entry: string, count: number, area: number, workgroups: number, limits: Limits): Plan => ({
  passes: [
    { shader: shaders.planes, entry, params: { count, area }, bind: { source: input(0), result: output(0) }, workgroups: grid(workgroups, limits) },
  ],
});

export const globalAverage = ({ inputs: [x], outputs: [y] }: Call, limits: Limits): Plan => {
  const count = elements(y.shape);
  const area = x.shape[2] * x.shape[3];
  return area >= GROUP_PIXELS
    ? planes("mean_group", count, area, count, limits)
    : planes("mean_thread", count, area, Math.ceil(count / THREADS), limits);
};

export const globalAverageBackward = ({ attrs: { size }, outputs: [dx] }: Call<{ size: readonly number[] }>, limits: Limits): Plan => {
  const count = elements(dx.shape);
  return planes("spread", count, size[0] * size[1], Math.ceil(count / THREADS), limits);
};
