/** What the service tells about itself, in Prometheus' text format. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Batcher } from "./batcher.ts";
import type { Engine } from "./engine.ts";

export interface Metrics {
  readonly registry: Registry;
  readonly duration: Histogram<"route" | "status">;
  readonly batchRows: Histogram<"kind">;
  readonly refused: Counter;
  stop(): void;
}

export const createMetrics = (engine: Engine, batchers: Readonly<Record<string, Batcher<number[], number[]>>>): Metrics => {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  // Time between two ticks of one millisecond: what a request may have to wait for the loop, and the tick.
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  new Gauge({
    name: "service_event_loop_delay_seconds",
    help: "Time between ticks of the event loop since the start, ticks of 1 ms included",
    labelNames: ["quantile"],
    registers,
    collect() {
      for (const percent of [50, 99, 99.9]) this.set({ quantile: percent / 100 }, delay.percentile(percent) / 1e9);
    },
  });
  new Gauge({
    name: "service_queue_rows",
    help: "Rows that wait for the device",
    labelNames: ["kind"],
    registers,
    collect() {
      for (const [kind, { waiting }] of Object.entries(batchers)) this.set({ kind }, waiting);
    },
  });
  new Gauge({
    name: "service_device_recoveries",
    help: "Devices opened in place of lost ones",
    registers,
    collect() {
      this.set(engine.recoveries);
    },
  });
  new Gauge({
    name: "service_device_bytes",
    help: "Bytes that the device holds, by use",
    labelNames: ["use"],
    registers,
    async collect() {
      const { counters } = await engine.device();
      this.set({ use: "live" }, counters.liveBytes);
      this.set({ use: "pooled" }, counters.pooledBytes);
    },
  });
  return {
    registry,
    duration: new Histogram({
      name: "service_request_duration_seconds",
      help: "From the request's head to the end of the answer",
      labelNames: ["route", "status"],
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
      registers,
    }),
    batchRows: new Histogram({
      name: "service_batch_rows",
      help: "Rows of one call of the device",
      labelNames: ["kind"],
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers,
    }),
    refused: new Counter({ name: "service_refused_requests_total", help: "Requests refused because the queue was full", registers }),
    stop: () => {
      delay.disable();
      registry.clear();
    },
  };
};
