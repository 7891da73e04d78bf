/** The list of rooms, for tests, `birkhoff check` and benches to walk. The library itself never imports it. */
import type { Room } from "../testing/cases.ts";
import { room as elementwise } from "./elementwise/cases.ts";

export const rooms: readonly Room[] = [elementwise];
