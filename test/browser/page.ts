/** Every room × case in the browser that shows this page, as test/support/suite.ts runs them in Node. */
import type { Device } from "../../src/device.ts";
import { deviceOf, openDevice } from "../../src/open.ts";
import { rooms } from "../../src/ops/index.ts";
import type { Case } from "../../src/testing/cases.ts";
import { compareCase, runCase } from "../../src/testing/conformance.ts";
import { guarded } from "../../src/testing/guarded.ts";

export interface CaseName {
  readonly room: string;
  readonly name: string;
  readonly slow: boolean;
}
export interface Conformance {
  /** The cases that a software GPU runs. */
  list(): CaseName[];
  describe(): Promise<string>;
  /** What is wrong with the case here; nothing when it passes. */
  run(room: string, name: string): Promise<string | undefined>;
}

/** Cases for hardware are out of reach of a software GPU, as in Node. */
const cases = new Map(
  rooms.flatMap((room) => room.cases.filter(({ large }) => !large).map((entry): [string, Case] => [`${room.name}/${entry.name}`, entry])),
);

const opened = (async () => {
  const plain = await openDevice({ device: "webgpu" });
  const backend = guarded(plain.backend);
  return { plain, backend, device: deviceOf(backend), reference: await openDevice({ device: "reference" }) };
})();

const fault = async (entry: Case): Promise<string | undefined> => {
  const { plain, backend, device, reference } = await opened;
  const want = await runCase(reference, entry);
  const check = async (target: Device): Promise<string | undefined> => {
    const { errors, passed } = compareCase(entry, await runCase(target, entry), want, target);
    if (!passed) return `errors in units of the tolerance: ${JSON.stringify(errors)}`;
    return target.counters.liveBuffers > 0 ? `${target.counters.liveBuffers} buffers left alive` : undefined;
  };
  for (const target of [device, plain]) {
    const found = await check(target);
    await backend.check();
    if (found) return found;
  }
  return undefined;
};

const conformance: Conformance = {
  list: () =>
    rooms.flatMap(({ name: room, cases: all }) => all.filter(({ large }) => !large).map(({ name, slow = false }) => ({ room, name, slow }))),
  describe: async () => {
    const { info } = (await opened).plain;
    return `${info.description}${info.software ? " (software)" : ""}`;
  },
  async run(room, name) {
    const entry = cases.get(`${room}/${name}`);
    if (!entry) return "no such case";
    try {
      return await fault(entry);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  },
};
Object.assign(globalThis, { conformance });
