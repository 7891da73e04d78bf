/** `birkhoff/files`: the package's file formats on disk, for Node. The formats themselves (bytes in, bytes out) are in `birkhoff` and run in browsers too. */

export { type Cifar10File, type Cifar10Folder, loadCifar10Folder, readCifar10 } from "./data/cifar.ts";
export { readNpy, readSafetensors, replaceFile, writeNpy, writeSafetensors } from "./data/disk.ts";
export type { LabelledImages } from "./data/folder.ts";
export { type IdxData, type IdxFile, type IdxFolder, loadIdxFolder, readIdx } from "./data/idx.ts";
