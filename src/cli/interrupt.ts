/** Ctrl-C as a signal that work can end on, with what was found so far; a second one finds no listener and ends the process at once. */
export const interruption = (): Disposable & { readonly signal: AbortSignal } => {
  const abort = new AbortController();
  const interrupt = (): void => {
    process.off("SIGINT", interrupt);
    abort.abort();
  };
  process.on("SIGINT", interrupt);
  return { signal: abort.signal, [Symbol.dispose]: () => void process.off("SIGINT", interrupt) };
};
