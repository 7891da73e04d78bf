/** GPU memory: storage buffers by size class, recycled up to a cap, staging buffers for reads, and ranges of the program's own buffers. */

/** A GPU buffer, perhaps larger than what was asked for. */
export interface Allocation {
  readonly id: number;
  readonly gpu: GPUBuffer;
  /** Where in the buffer it begins: 0 but for memory of the program's own. */
  readonly offset: number;
  readonly bytes: number;
  /** Whether the program, not this device, destroys it. */
  readonly borrowed: boolean;
  /** Serial of the last batch that refers to it. */
  usedIn: number;
  /** Set when creating it failed, which is known a little later: such memory is not reused. */
  broken: boolean;
}

/** Wraps a system allocation; `failed` is called when it turns out to have failed. */
type Creator = (bytes: number, create: () => GPUBuffer, failed: () => void) => GPUBuffer;

// GPUBufferUsage, which Node has no global for.
const MAP_READ = 1;
const COPY_SRC = 4;
const COPY_DST = 8;
const UNIFORM = 64;
const STORAGE = 128;
const INDIRECT = 256;
const USAGES = { storage: STORAGE | INDIRECT | COPY_SRC | COPY_DST, staging: MAP_READ | COPY_DST, uniform: UNIFORM | COPY_DST } as const;

let nextId = 0;

/** Takes a range of a buffer that was made elsewhere. */
export const foreignAllocation = (gpu: GPUBuffer, offset: number, bytes: number, borrowed: boolean): Allocation => ({
  id: nextId++,
  gpu,
  offset,
  bytes,
  borrowed,
  usedIn: -1,
  broken: false,
});

const SMALLEST_CLASS = 256;
const CLASSES_PER_OCTAVE = 4;
/** What the pool may keep even when the program never held more than this at once. */
const POOL_FLOOR_BYTES = 64 * 2 ** 20;

/** The size that is allocated for `bytes`: at most a quarter more, so that nearby sizes share buffers. */
export const sizeClass = (bytes: number, limit: number): number => {
  if (bytes <= SMALLEST_CLASS) return SMALLEST_CLASS;
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / CLASSES_PER_OCTAVE;
  const size = Math.ceil(bytes / step) * step;
  // A class past the device's limit must not refuse what would fit.
  return size <= limit ? size : Math.ceil(bytes / 4) * 4;
};

export class BufferPool {
  readonly #device: GPUDevice;
  readonly #usage: keyof typeof USAGES;
  readonly #limit: number;
  readonly #free = new Map<number, Allocation[]>();
  readonly #live = new Set<Allocation>();
  readonly #onCreate: Creator;
  readonly #onDrop: (allocation: Allocation) => void;
  #created = 0;
  #liveBytes = 0;
  #peakBytes = POOL_FLOOR_BYTES;
  #pooledBytes = 0;

  /** `onCreate` watches every system allocation; `onDrop` destroys a buffer once nothing pending needs it. */
  constructor(device: GPUDevice, usage: keyof typeof USAGES, limit: number, onCreate: Creator, onDrop: (allocation: Allocation) => void) {
    this.#device = device;
    this.#usage = usage;
    this.#limit = limit;
    this.#onCreate = onCreate;
    this.#onDrop = onDrop;
  }

  get created(): number {
    return this.#created;
  }

  get liveBytes(): number {
    return this.#liveBytes;
  }

  get pooledBytes(): number {
    return this.#pooledBytes;
  }

  /** At least `bytes` of memory with undefined contents. */
  take(bytes: number): Allocation {
    const size = sizeClass(bytes, this.#limit);
    const allocation = this.#touch(size).pop();
    if (allocation) this.#pooledBytes -= size;
    const taken = allocation ?? this.#create(size);
    this.#live.add(taken);
    this.#liveBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return taken;
  }

  /** Hands memory back for reuse. The pool keeps at most twice what the program once held at a time: both halves of a training step may want most of that, in sizes of their own. */
  release(allocation: Allocation): void {
    const { bytes } = allocation;
    if (!this.#live.delete(allocation)) return;
    this.#liveBytes -= bytes;
    if (allocation.broken) {
      this.#onDrop(allocation);
      return;
    }
    this.#touch(bytes).push(allocation);
    this.#pooledBytes += bytes;
    while (this.#pooledBytes > 2 * this.#peakBytes) this.#evict();
  }

  /** The free list of a size class, which becomes the most recently used: the map's order is the order of use. */
  #touch(size: number): Allocation[] {
    const list = this.#free.get(size) ?? [];
    this.#free.delete(size);
    this.#free.set(size, list);
    return list;
  }

  /** Drops a buffer of the class that was not used for longest. */
  #evict(): void {
    for (const [size, list] of this.#free) {
      const allocation = list.shift();
      if (allocation) {
        this.#pooledBytes -= size;
        this.#onDrop(allocation);
        return;
      }
      this.#free.delete(size);
    }
  }

  /** Drops everything kept for reuse. */
  trim(): void {
    for (const list of this.#free.values()) for (const allocation of list) this.#onDrop(allocation);
    this.#free.clear();
    this.#pooledBytes = 0;
  }

  /** Destroys everything, in use or not. */
  destroy(): void {
    for (const allocation of this.#live) allocation.gpu.destroy();
    for (const list of this.#free.values()) for (const { gpu } of list) gpu.destroy();
    this.#live.clear();
    this.#free.clear();
    this.#liveBytes = 0;
    this.#pooledBytes = 0;
  }

  #create(size: number): Allocation {
    const create = (): GPUBuffer => this.#device.createBuffer({ size, usage: USAGES[this.#usage] });
    const gpu = this.#onCreate(size, create, () => {
      allocation.broken = true;
    });
    const allocation: Allocation = { id: nextId++, gpu, offset: 0, bytes: size, borrowed: false, usedIn: -1, broken: false };
    this.#created++;
    return allocation;
  }
}
