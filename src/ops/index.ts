/** The list of rooms, for tests, `birkhoff check` and benches to walk. The library itself never imports it. */
import { expected } from "../errors.ts";
import type { Op } from "../op.ts";
import type { Room } from "../testing/cases.ts";
import { room as assignment } from "./assignment/cases.ts";
import { room as cast } from "./cast/cases.ts";
import { room as cholesky } from "./cholesky/cases.ts";
import { room as conv } from "./conv/cases.ts";
import { room as crossEntropy } from "./crossEntropy/cases.ts";
import { room as cumsum } from "./cumsum/cases.ts";
import { room as elementwise } from "./elementwise/cases.ts";
import { room as expandKernel } from "./expandKernel/cases.ts";
import { room as hyperConnection } from "./hyperConnection/cases.ts";
import { room as matmul } from "./matmul/cases.ts";
import { room as norm } from "./norm/cases.ts";
import { room as optimizer } from "./optimizer/cases.ts";
import { room as pool } from "./pool/cases.ts";
import { room as random } from "./random/cases.ts";
import { room as reduce } from "./reduce/cases.ts";
import { room as relativeProjection } from "./relativeProjection/cases.ts";
import { room as shape } from "./shape/cases.ts";
import { room as sinkhorn } from "./sinkhorn/cases.ts";
import { room as transport } from "./transport/cases.ts";
import { room as zeroPersistence } from "./zeroPersistence/cases.ts";

/** Every op of the package, by its folder: definition, plan and backward rule of each, and the cases that it is tested with. */
export const rooms: readonly Room[] = [
  assignment,
  cast,
  cholesky,
  conv,
  crossEntropy,
  cumsum,
  elementwise,
  expandKernel,
  hyperConnection,
  matmul,
  norm,
  optimizer,
  pool,
  random,
  reduce,
  relativeProjection,
  shape,
  sinkhorn,
  transport,
  zeroPersistence,
];

/**
 * An op by its name: its value for `prepareKernel`, and in `reference` its definition in float64 loops.
 *
 * @throws ArgumentError for a name that no op has
 * @example
 * ```ts
 * const y = new Float64Array(3);
 * const op = findOp("cumsum");
 * const attrs = { axis: 0, reverse: false };
 * const inputs = [{ shape: [3], dtype: "float32" }] as const;
 * const call = { op, attrs, inputs, outputs: op.outputs(inputs, attrs) };
 * op.reference({ call, scalars: {}, inputs: [Float64Array.of(1, 2, 3)], outputs: [y], fault: () => {} });
 * y; // => [1, 3, 6]
 * ```
 */
export const findOp = (name: string): Op => {
  const ops = rooms.flatMap((room) => room.ops);
  const found = ops.find((op) => op.name === name);
  if (!found) throw expected("findOp", `one of ${ops.map((op) => op.name).join(", ")}`, "name", name);
  return found;
};
