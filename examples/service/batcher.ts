/** Gathers what requests ask for at about the same time into one call of the device. Knows neither HTTP nor birkhoff. */

export interface BatcherOptions {
  /** Rows of one call at most. */
  readonly maxBatch: number;
  /** Milliseconds that the first row of a batch waits for others. */
  readonly maxWait: number;
  /** Rows that may wait; more are refused. */
  readonly maxQueue: number;
}

/** There are too many requests, or the service is going down. */
export class BusyError extends Error {}

interface Job<Row, Answer> {
  readonly rows: readonly Row[];
  readonly arrived: number;
  resolve(answers: Answer[]): void;
  reject(error: unknown): void;
}

export class Batcher<Row, Answer> {
  readonly #run: (rows: readonly Row[]) => Promise<readonly Answer[]>;
  readonly #isolate: (error: unknown) => boolean;
  readonly #options: BatcherOptions;
  #jobs: Job<Row, Answer>[] = [];
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  /**
   * @param run gives one answer per row, in order
   * @param isolate whether an error is that of single rows: the requests of the batch are then run one by one, so that none fails for another's data
   */
  constructor(
    run: (rows: readonly Row[]) => Promise<readonly Answer[]>,
    options: BatcherOptions,
    isolate: (error: unknown) => boolean = () => false,
  ) {
    this.#run = run;
    this.#options = options;
    this.#isolate = isolate;
  }

  /** Rows that wait for a call. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Rejects with BusyError when the rows do not fit the queue. */
  async submit(rows: readonly Row[]): Promise<Answer[]> {
    if (this.#closed) throw new BusyError("the service is going down");
    if (this.#waiting + rows.length > this.#options.maxQueue) throw new BusyError("the queue is full");
    return new Promise((resolve, reject) => {
      this.#jobs.push({ rows, arrived: performance.now(), resolve, reject });
      this.#waiting += rows.length;
      this.#consider();
    });
  }

  /** Takes nothing more; resolves when everything that waits is answered. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#consider();
    while (this.#running !== undefined) await this.#running;
  }

  /** Starts a call when it is time for one. One runs at a time: what arrives meanwhile is the next batch. */
  #consider(): void {
    if (this.#running || this.#jobs.length === 0) return;
    const { maxBatch, maxWait } = this.#options;
    const due = this.#jobs[0].arrived + maxWait - performance.now();
    if (this.#waiting < maxBatch && due > 0 && !this.#closed) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#consider();
      }, due);
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#take();
    this.#running = this.#execute(batch).finally(() => {
      this.#running = undefined;
      this.#consider();
    });
  }

  /** Whole requests up to the largest batch; at least one. */
  #take(): Job<Row, Answer>[] {
    let rows = 0;
    let count = 0;
    for (const job of this.#jobs) {
      if (count > 0 && rows + job.rows.length > this.#options.maxBatch) break;
      rows += job.rows.length;
      count++;
    }
    this.#waiting -= rows;
    return this.#jobs.splice(0, count);
  }

  async #execute(batch: readonly Job<Row, Answer>[]): Promise<void> {
    try {
      const answers = await this.#run(batch.flatMap(({ rows }) => rows));
      let from = 0;
      for (const { rows, resolve } of batch) {
        resolve(answers.slice(from, from + rows.length));
        from += rows.length;
      }
    } catch (error) {
      if (batch.length > 1 && this.#isolate(error)) for (const job of batch) await this.#execute([job]);
      else for (const { reject } of batch) reject(error);
    }
  }
}
