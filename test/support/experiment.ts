/** An experiment that is done within a second. */
export const small = {
  name: "small",
  data: { kind: "generated", symmetry: "cyclic", size: 4 },
  networks: [{ kind: "learned" }, { kind: "plain" }],
  training: { steps: 60, warmup: 10, batchSize: 8 },
  seeds: { from: 3, count: 2 },
};
