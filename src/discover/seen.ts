/** What a run has seen so far, and how it is kept between sittings. */
import type { Optimizer } from "../optim.ts";
import type { Snapshot } from "../report/types.ts";
import type { Contender } from "./experiment.ts";

export interface Seen {
  /** One per step, without regularisers. */
  readonly losses: number[];
  /** Steps after which held-out examples and matrices were looked at, and what was found then: agreement and matrices by layer. */
  readonly steps: number[];
  readonly accuracy: number[];
  readonly agreement: number[][];
  readonly snapshots: Snapshot[][];
  /** Of training, over all sittings. */
  seconds: number;
}

export const nothingSeen = ({ layers }: Contender): Seen => ({
  losses: [],
  steps: [],
  accuracy: [],
  agreement: layers.map(() => []),
  snapshots: layers.map(() => []),
  seconds: 0,
});

/** Where an unfinished run is left. */
export interface Checkpoint {
  save(contender: Contender, optimizer: Optimizer, seen: Seen): Promise<void>;
  /**
   * Puts network and optimiser back to where they were.
   *
   * @returns what the run had seen, or undefined where nothing was left
   * @throws FileError for what is no whole checkpoint of this run; network and optimiser are then as they were.
   */
  load(contender: Contender, optimizer: Optimizer): Seen | undefined;
}
