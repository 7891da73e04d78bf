/** The list of benches, for the command line. */
import { bench as conv } from "./conv.bench.ts";
import { bench as expandKernel } from "./expandKernel.bench.ts";
import type { Bench } from "./harness/bench.ts";
import { bench as hyperConnection } from "./hyperConnection.bench.ts";
import { bench as matmul } from "./matmul.bench.ts";
import { bench as persistence } from "./persistence.bench.ts";
import { bench as relative } from "./relative.bench.ts";
import { bench as sinkhorn } from "./sinkhorn.bench.ts";

export const benches: readonly Bench[] = [sinkhorn, hyperConnection, matmul, conv, expandKernel, relative, persistence];
