/** Every room × case in the browser that shows this page, as test/support/suite.ts runs them in Node. */
import { openDevice } from "../../src/open.ts";
import { rooms } from "../../src/ops/index.ts";
import type { Case } from "../../src/testing/cases.ts";
import { checkCase } from "../../src/testing/check.ts";

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

const opened = openDevice({ device: "webgpu" });

const conformance: Conformance = {
  list: () =>
    rooms.flatMap(({ name: room, cases: all }) => all.filter(({ large }) => !large).map(({ name, slow = false }) => ({ room, name, slow }))),
  describe: async () => {
    const { info } = await opened;
    return `${info.description}${info.software ? " (software)" : ""}`;
  },
  async run(room, name) {
    const entry = cases.get(`${room}/${name}`);
    return entry ? (await checkCase(await opened, entry)).problem : "no such case";
  },
};
Object.assign(globalThis, { conformance });
