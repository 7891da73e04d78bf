/** The HTTP side: routes, limits, errors as status codes, and the order in which everything ends. */
import { DataError } from "birkhoff";
import fastify, { type FastifyInstance } from "fastify";
import { Batcher, type BatcherOptions, BusyError } from "./batcher.ts";
import type { Engine } from "./engine.ts";
import { createMetrics } from "./metrics.ts";
import { FEATURES } from "./model.ts";

export interface ServerOptions extends BatcherOptions {
  /** Bytes of a request's body at most. */
  readonly bodyLimit: number;
}

export const DEFAULTS: ServerOptions = { maxBatch: 64, maxWait: 2, maxQueue: 1024, bodyLimit: 256 * 1024 };

const MAX_FLOAT32 = 3.4028234663852886e38;

/** Answers requests with the engine, which `close()` of the server closes too, after the last answer. */
export const createServer = (engine: Engine, { bodyLimit, ...options }: ServerOptions = DEFAULTS): FastifyInstance => {
  // Numbers are numbers: texts that look like some are refused. Connections without a request end when the server does.
  const app = fastify({ bodyLimit, forceCloseConnections: "idle", ajv: { customOptions: { coerceTypes: false } } });
  const batcher = (kind: "project" | "classify"): Batcher<number[], number[]> =>
    new Batcher(
      (rows) => {
        metrics.batchRows.observe({ kind }, rows.length);
        return engine.run(kind, rows);
      },
      options,
      (error) => error instanceof DataError,
    );
  const batchers = { project: batcher("project"), classify: batcher("classify") };
  const metrics = createMetrics(engine, batchers);

  const vector = { type: "array", minItems: FEATURES, maxItems: FEATURES, items: { type: "number", minimum: -MAX_FLOAT32, maximum: MAX_FLOAT32 } };
  const body = {
    type: "object",
    required: ["embeddings"],
    additionalProperties: false,
    properties: { embeddings: { type: "array", minItems: 1, maxItems: options.maxBatch, items: vector } },
  };
  for (const kind of ["project", "classify"] as const) {
    app.post<{ Body: { embeddings: number[][] } }>(`/v1/${kind}`, { schema: { body } }, async ({ body: { embeddings } }) => {
      const answers = await batchers[kind].submit(embeddings);
      return kind === "project" ? { relative: answers } : { logits: answers, classes: answers.map((row) => row.indexOf(Math.max(...row))) };
    });
  }
  app.get("/health", async () => {
    const { kind, info } = await engine.device();
    return { status: "ok", device: kind, description: info.description };
  });
  app.get("/metrics", async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()));

  app.setErrorHandler((error: Error & { statusCode?: number }, _, reply) => {
    if (error instanceof BusyError) {
      metrics.refused.inc();
      return reply.code(503).header("retry-after", "1").send({ error: error.message });
    }
    const code = error instanceof DataError ? 422 : (error.statusCode ?? 500);
    return reply.code(code).send({ error: error.message });
  });
  app.addHook("onResponse", async ({ routeOptions }, { statusCode, elapsedTime }) => {
    metrics.duration.observe({ route: routeOptions.url ?? "none", status: statusCode }, elapsedTime / 1000);
  });
  // Before the connections end: they end when their requests are answered, and those that wait for a fuller batch are answered now.
  app.addHook("preClose", async () => {
    await Promise.all([batchers.project.close(), batchers.classify.close()]);
  });
  app.addHook("onClose", async () => {
    metrics.stop();
    await engine.close();
  });
  return app;
};
