/** A progress bar on a terminal, a line now and then elsewhere; always on standard error. */
import cliProgress from "cli-progress";

export interface Progress {
  readonly done: number;
  readonly total: number;
  /** What a person wants to know of this step. */
  readonly facts: string;
}

export interface ProgressDisplay {
  update(progress: Progress): void;
  stop(): void;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

const seconds = (value: number): string => (value >= 90 ? `${Math.round(value / 60)} min` : `${Math.round(value)} s`);

/** Lines printed where there is no terminal. */
const LINES = 10;

export const progressDisplay = (stream: NodeJS.WriteStream = process.stderr): ProgressDisplay => {
  const started = performance.now();
  const left = ({ done, total }: Progress): string => (done === 0 ? "–" : seconds((((performance.now() - started) / 1000) * (total - done)) / done));
  if (!stream.isTTY) {
    let printed = -1;
    return {
      update(progress) {
        const tenth = Math.floor((LINES * progress.done) / progress.total);
        if (tenth === printed) return;
        printed = tenth;
        stream.write(`${percent(progress.done / progress.total).padStart(6)}  ${progress.facts} · ${left(progress)} left\n`);
      },
      stop() {},
    };
  }
  const bar = new cliProgress.SingleBar(
    { stream, format: "{bar} {percentage}% · {facts} · {left} left", barsize: 24, hideCursor: true, clearOnComplete: false, etaBuffer: 50, fps: 8 },
    cliProgress.Presets.shades_classic,
  );
  let running = false;
  return {
    update(progress) {
      const payload = { facts: progress.facts, left: left(progress) };
      if (!running) bar.start(progress.total, 0, payload);
      running = true;
      bar.update(progress.done, payload);
    },
    stop() {
      if (running) bar.stop();
    },
  };
};
