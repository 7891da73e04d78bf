/** The list of rooms, for tests, `birkhoff check` and benches to walk. The library itself never imports it. */
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
